/// Enhances a recording as a stream, each channel by itself.
struct StreamEnhancer: BlockEnhancer {
  private let streams: [EnhancementStream]
  var segmentCount: Int { 0 }

  init(_ model: StreamingMambAttention, channels: Int) {
    streams = (0..<channels).map { _ in EnhancementStream(model: model) }
  }

  mutating func process(_ channels: [[Float]], isLast: Bool) async throws -> [[Float]] {
    zip(streams, channels).map { stream, samples in
      let ready = stream.process(samples)
      return isLast ? ready + stream.finish() : ready
    }
  }
}
