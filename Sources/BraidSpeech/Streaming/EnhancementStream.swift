import BraidMixers
import BraidTensor

/// Enhances a signal that comes in blocks of any sizes; all blocks together give the samples that one block gives,
/// bit for bit.
///
/// The output is aligned with the input and, after `finish`, as long: what a frame's latency holds back comes later.
/// One stream serves one thread at a time.
public final class EnhancementStream {
  public let processor: FrameProcessor
  /// Samples that are processed at a time: 10 ms.
  public var frameSize: Int { processor.hop }
  /// Samples that must be known behind a sample before its enhanced value comes out, itself included: 30 ms.
  public var latency: Int { processor.hop + processor.delay }

  /// Samples taken so far.
  public private(set) var position = 0
  private var waiting: [Float]
  private var ready: [Float]

  public init(model: StreamingMambAttention) {
    processor = FrameProcessor(model: model)
    waiting = [Float](repeating: 0, count: processor.hop)
    ready = waiting
  }

  /// Samples that came out so far.
  private var emitted: Int { max(0, position / frameSize * frameSize - processor.delay) }

  /// The enhanced samples that are complete now.
  public func process(_ samples: UnsafeBufferPointer<Float>) -> [Float] {
    var output: [Float] = []
    output.reserveCapacity(
      (position + samples.count) / frameSize * frameSize - position / frameSize * frameSize)
    process(samples) { output.append(contentsOf: $0) }
    return output
  }

  public func process(_ samples: [Float]) -> [Float] { samples.withUnsafeBufferPointer(process) }

  /// Hands `body` the enhanced samples that are complete now, a frame at a time; takes no memory.
  public func process(_ samples: UnsafeBufferPointer<Float>, _ body: (UnsafeBufferPointer<Float>) -> Void) {
    var next = 0
    while next < samples.count {
      let filled = position % frameSize
      let count = min(frameSize - filled, samples.count - next)
      for i in 0..<count { waiting[filled + i] = samples[next + i] }
      next += count
      position += count
      if filled + count == frameSize { step(body) }
    }
  }

  /// Enhances the waiting frame.
  private func step(_ body: (UnsafeBufferPointer<Float>) -> Void) {
    waiting.withUnsafeBufferPointer { input in
      ready.withUnsafeMutableBufferPointer { processor.process(input.baseAddress!, to: $0.baseAddress!) }
    }
    // What lies before the first sample.
    let early = min(frameSize, max(0, frameSize - emitted))
    ready.withUnsafeBufferPointer { output in
      if early < frameSize { body(UnsafeBufferPointer(rebasing: output[early...])) }
    }
  }

  /// The samples that are still held back; the stream is then at the start of a new signal.
  public func finish() -> [Float] {
    let total = position
    var output: [Float] = []
    let missing = total - emitted
    let zeros = [Float](repeating: 0, count: frameSize)
    while output.count < missing { output += process(zeros) }
    reset()
    return Array(output.prefix(missing))
  }

  /// Forgets the signal.
  public func reset() {
    processor.reset()
    position = 0
  }

  // MARK: State

  /// Everything that later samples need of the past; a stream of the same model goes on from it with the same bits.
  public var state: MixerState {
    var state = processor.state
    state["waiting"] = Tensor(
      waiting.indices.map { $0 < position % frameSize ? waiting[$0] : 0 }, shape: [1, frameSize])
    state.position = position
    return state
  }

  /// - Throws: `MixerError.state` where it is not the state of such a model; nothing has changed then.
  public func restore(_ state: MixerState) throws {
    guard state.contains("waiting"), state["waiting"].shape == [1, frameSize],
      state["waiting"].dtype == .float32,
      state.position >= 0
    else { throw MixerError.state(reason: "waiting is not float32 [1, \(frameSize)]") }
    try processor.restore(state)
    waiting = state["waiting"].floats
    position = state.position
  }

  /// Writes the state as a safetensors file, whole or not at all.
  public func save(to path: String) throws { try state.save(to: path) }

  /// Goes on from a file that `save` wrote.
  /// - Throws: `MixerError.state` where it is of another model, or the file's own errors.
  public func restore(from path: String) throws { try restore(MixerState(contentsOf: path, like: state)) }
}
