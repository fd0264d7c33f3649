import BraidTensor
import Foundation

/// Enhances recordings with a model: from a file or samples to a file or samples, in memory that does not grow with
/// their length.
///
/// A recording is brought to the model's rate by libsamplerate, cut into overlapping segments that fit in memory (one,
/// where it is short), enhanced channel by channel, cross-faded, and brought back. A value that may be shared between
/// tasks. Runs honour the cancellation of their task between segments.
public struct EnhancePipeline: Sendable {
  public typealias Progress = @Sendable (EnhanceEvent) -> Void

  public let model: any EnhancementModel
  /// Throws where so many bytes cannot be had.
  var preflight: @Sendable (Int) throws -> Void = { try Memory.preflight(byteCount: $0) }

  public init(_ model: any EnhancementModel) { self.model = model }

  /// Seconds that must be known behind a sample before it comes out of a stream; nil where the model is none. A change of
  /// rate adds 2.9 ms on the way to the model and as much on the way back (twice that at 8 kHz).
  public var latency: Double? {
    guard let model = model as? StreamingMambAttention else { return nil }
    return Double(EnhancementStream(model: model).latency) / Double(model.sampleRate)
  }

  /// Enhances the recording in the file `input` into the file `output`, which appears whole or not at all.
  ///
  /// - Parameters:
  ///   - encoding: how samples are stored; nil is the input's encoding where the output's container takes it.
  ///   - progress: called, on the thread that works, after every block.
  /// - Throws: `AudioError`, `EnhanceError`, `MemoryError`, `CancellationError`.
  @discardableResult
  public func run(
    input: String, output: String, encoding: AudioFormat.Encoding? = nil,
    options: EnhanceOptions = EnhanceOptions(), observer: (any SampleObserver)? = nil,
    progress: @escaping Progress = { _ in }
  ) async throws -> EnhanceResult {
    let source = try AudioReader(input)
    return try await run(source, options: options, observer: observer, progress: progress) { rate in
      let format = try source.format.forOutput(output, encoding: encoding, sampleRate: rate)
      return (try AudioWriter(output, format: format), format)
    }
  }

  /// Enhances what a source gives, into the sink that `open` makes for a sample rate.
  ///
  /// The sink is opened once the first samples were read: a source without any leaves nothing behind.
  /// - Parameter blockFrames: samples of a channel that are read at once.
  @discardableResult
  public func run(
    _ source: any SampleSource, options: EnhanceOptions = EnhanceOptions(), blockFrames: Int = 1 << 15,
    observer: (any SampleObserver)? = nil, progress: @escaping Progress = { _ in },
    into open: (_ sampleRate: Int) throws -> (sink: any SampleSink, format: AudioFormat)
  ) async throws -> EnhanceResult {
    let start = Date()
    var run = try EnhanceRun(
      self, source.format, options, total: source.declaredLength, path: source.path, progress: progress,
      observer: observer)
    var block = try source.read(blockFrames)
    if block.isEmpty { throw AudioError.empty(path: source.path) }
    let (sink, format) = try open(run.outputRate)
    while !block.isEmpty {
      try Task.checkCancellation()
      let ready = try await run.process(block)
      if !ready.isEmpty { try sink.write(ready) }
      block = try source.read(blockFrames)
    }
    try sink.write(try await run.process([], isLast: true))
    try sink.commit()
    if source.replacedSamples > 0 {
      progress(.note("\(source.replacedSamples) samples were not numbers and were read as 0"))
    }
    if run.samplesBeyondScale > 0 && sink.clips {
      progress(.note("\(run.samplesBeyondScale) samples beyond full scale were clipped"))
    }
    if let shortfall = source.shortfall {
      progress(.note(shortfall.description(found: run.taken, sampleRate: source.format.sampleRate)))
    }
    return EnhanceResult(
      input: source.format, output: format, modelRate: model.sampleRate, inputLength: run.taken,
      outputLength: run.given, segments: run.segmentCount, replacedSamples: source.replacedSamples,
      samplesBeyondScale: run.samplesBeyondScale, shortfall: source.shortfall,
      seconds: Date().timeIntervalSince(start))
  }

  /// The enhanced samples of each channel; all channels have one length. Samples that are not finite count as 0.
  public func run(
    _ channels: [[Float]], sampleRate: Int, options: EnhanceOptions = EnhanceOptions(),
    progress: @escaping Progress = { _ in }
  ) async throws -> [[Float]] {
    guard let length = channels.first?.count, length > 0 else { return channels }
    precondition(
      channels.allSatisfy { $0.count == length },
      "EnhancePipeline: channels of \(channels.map(\.count)) samples")
    let format = AudioFormat(code: 0, sampleRate: sampleRate, channels: channels.count)
    var run = try EnhanceRun(
      self, format, options, total: length, path: "samples", progress: progress, observer: nil)
    var output: [[Float]] = channels.map { _ in [] }
    for start in stride(from: 0, through: length, by: 1 << 15) {
      try Task.checkCancellation()
      let end = min(length, start + 1 << 15)
      var block: [Float] = []
      for i in start..<end { for samples in channels { block.append(samples[i].isFinite ? samples[i] : 0) } }
      let ready = try await run.process(block, isLast: end == length)
      for (i, sample) in ready.enumerated() { output[i % channels.count].append(sample) }
      if end == length { break }
    }
    return output
  }

  /// What enhances blocks at the model's rate.
  func enhancer(
    _ options: EnhanceOptions, channels: Int, progress: @escaping Progress
  ) throws -> any BlockEnhancer {
    if let model = model as? StreamingMambAttention {
      if options.sharesMask { throw EnhanceError.cannotShareMask }
      return StreamEnhancer(model, channels: channels)
    }
    if options.streams { throw EnhanceError.cannotStream(architecture: type(of: model).architecture) }
    let rate = Double(model.sampleRate)
    let budget = options.memoryBudget ?? MemoryBudget.standard
    let least = max(model.sampleRate, model.shortestSignal)
    let limit: Int
    switch options.segments {
    case .whole: limit = .max
    case .seconds(let seconds):
      limit = seconds < 1e9 ? max(model.shortestSignal, Int(seconds * rate)) : .max
    case .automatic:
      let seconds = min(budget / model.bytesPerSecond, model.longestSegment ?? .max / model.sampleRate)
      limit = max(least, seconds * model.sampleRate)
    }
    return SegmentEnhancer(
      channels: channels, limit: limit, overlap: Int(max(0, options.overlap) * rate), least: least
    ) { limit in
      progress(.note("not enough memory for so long a segment; going on with \(limit / model.sampleRate) s"))
    } model: { segment in
      try enhanced(segment, sharesMask: options.sharesMask)
    }
  }

  /// What the model makes of a segment's channels.
  private func enhanced(_ channels: [[Float]], sharesMask: Bool) throws -> [[Float]] {
    let length = channels[0].count
    let padded = max(length, model.shortestSignal)
    let seconds = Double(padded) / Double(model.sampleRate)
    var signals: [Tensor] = []
    for samples in channels {
      try Task.checkCancellation()
      // The estimate and a quarter: blocks are rounded up, and address space is lost between them.
      try preflight(Int(1.25 * seconds * Double(model.bytesPerSecond)))
      let noisy = Tensor(samples + [Float](repeating: 0, count: padded - length), shape: [1, padded])
      signals.append(withoutGradient { model.enhanced(noisy) })
    }
    var enhanced = signals.map(\.floats)
    if sharesMask && channels.count > 1 {
      enhanced = SharedMask.apply(
        noisy: channels, enhanced: enhanced, padded: padded, transform: model.transform)
    }
    guard enhanced.allSatisfy({ $0.allSatisfy(\.isFinite) }) else {
      throw EnhanceError.notFinite(architecture: type(of: model).architecture)
    }
    return padded == length ? enhanced : enhanced.map { Array($0[..<length]) }
  }
}
