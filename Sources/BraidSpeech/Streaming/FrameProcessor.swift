import BraidMixers
import BraidTensor
import CBraidKernels

/// The primitive of streaming enhancement: one hop of noisy samples in, one hop of enhanced samples out.
///
/// Everything is computed by the calling thread in memory that is taken once. What comes out is `delay` samples older
/// than what goes in; the same samples give the same bits, whatever ran before in the process.
public final class FrameProcessor {
  public let model: StreamingMambAttention
  /// Samples that go in and come out at a time: 10 ms.
  public let hop: Int
  /// Samples by which an output hop lags behind the input hop of the same call.
  public let delay: Int

  private let memory = StreamMemory()
  private let kernels = braid_kernels_current()!
  private let analyzer: FrameAnalyzer
  private let encoder: [StreamedConvolution]
  private let decoder: [StreamedWidening]
  private let blocks: [StreamedBlock]
  private let position: UnsafeMutablePointer<Float>
  private let slope: UnsafeMutablePointer<Float>
  /// Frames done, modulo a common multiple of the rings; and the last samples in and sums out.
  private let clock, history, overlap: UnsafeMutablePointer<Float>
  private let spectrum, map, numbers, gains, frame: UnsafeMutablePointer<Float>
  /// A ring's place repeats after so many frames.
  private let period: Int

  /// A processor at the start of a signal; the model's values are copied.
  public init(model: StreamingMambAttention) {
    let c = model.configuration
    self.model = model
    hop = c.hop
    delay = c.frameSize - c.hop
    let values = Dictionary(uniqueKeysWithValues: model.parameters.values.map { ($0.key, $0.value) })
    func weights(_ key: String) -> Tensor {
      guard let value = values[key] else {
        preconditionFailure("FrameProcessor: there is no parameter \(key)")
      }
      return value
    }
    let memory = memory
    clock = memory.state("clock", 1)
    history = memory.state("input", c.frameSize)
    overlap = memory.state("output", c.frameSize)
    analyzer = FrameAnalyzer(
      size: c.frameSize, compression: c.compression, levelMemory: c.levelMemory,
      state: memory.state("statistics", FrameAnalyzer.stateCount(size: c.frameSize)))
    let inputs = [(c.bins, FrameAnalyzer.featureCount)] + zip(c.widths, c.encoderChannels).map { ($0, $1) }
    encoder = inputs.enumerated().map { i, input in
      StreamedConvolution(
        width: input.0, activation: i + 1 == inputs.count ? BRAID_ACTIVATION_NONE : BRAID_ACTIVATION_SILU,
        name: "encoder.\(i)", memory: memory
      ) { weights("encoder.\(i).\($0)") }
    }
    blocks = (0..<c.blocks).map { i in
      StreamedBlock(c, name: "block.\(i)", memory: memory) { weights("blocks.\(i).\($0)") }
    }
    decoder = (0..<3).map { i in
      StreamedWidening(
        from: c.widths[2 - i], to: i == 2 ? c.bins : c.widths[1 - i],
        activation: i == 2 ? BRAID_ACTIVATION_NONE : BRAID_ACTIVATION_SILU, memory: memory
      ) { weights("decoder.\(i).\($0)") }
    }
    position = memory.constants(weights("position").floats)
    slope = memory.constants(weights("mask.slope").floats)
    spectrum = memory.floats(2 * c.bins)
    map = memory.floats(c.widths[2] * c.channels)
    numbers = memory.floats(3 * c.bins)
    gains = memory.floats(c.bins)
    frame = memory.floats(c.frameSize)
    period = 2 * c.window * c.kernelSize
  }

  /// Back to the start of a signal.
  public func reset() { memory.clear() }

  /// The enhanced samples [hop] that are complete once the noisy samples [hop] are known.
  public func process(_ input: UnsafePointer<Float>, to output: UnsafeMutablePointer<Float>) {
    let c = model.configuration
    let place = StreamPlace(frame: Int(clock[0]))
    history.update(from: history + hop, count: delay)
    (history + delay).update(from: input, count: hop)
    analyzer.analyze(history, spectrum: spectrum, features: encoder[0].input(place))

    encoder[0].step(place, to: encoder[1].input(place), residual: nil)
    encoder[1].step(place, to: encoder[2].input(place), residual: nil)
    encoder[2].step(place, to: map, residual: position)
    for block in blocks { block.step(map, at: place) }
    decoder[0].load(map)
    decoder[0].step(to: decoder[1].input, residual: encoder[2].input(place))
    decoder[1].step(to: decoder[2].input, residual: encoder[1].input(place))
    decoder[2].step(to: numbers, residual: nil)
    mask(c)

    analyzer.synthesize(spectrum, hop: hop, samples: frame)
    for i in 0..<c.frameSize { overlap[i] += frame[i] }
    output.update(from: overlap, count: hop)
    overlap.update(from: overlap + hop, count: delay)
    (overlap + delay).update(repeating: 0, count: hop)
    // The first frames are counted as they are; later ones so that rings keep their places and stay full.
    let next = place.frame + 1
    clock[0] = Float(next < 2 * period ? next : period)
  }

  /// Multiplies the spectrum by the mask that the numbers [bins, 3] make.
  private func mask(_ c: StreamingMambAttention.Configuration) {
    for bin in 0..<c.bins { gains[bin] = numbers[3 * bin] * slope[bin] }
    kernels.pointee.math.unary(BRAID_UNARY_SIGMOID, gains, gains, c.bins, 0, 0)
    for bin in 0..<c.bins {
      let (re, im) = (numbers[3 * bin + 1] + 1, numbers[3 * bin + 2])
      let direction = (re * re + im * im + StreamingMambAttention.directionFloor).squareRoot()
      let scale = gains[bin] * c.maskLimit / direction
      let (xr, xi) = (spectrum[2 * bin], spectrum[2 * bin + 1])
      spectrum[2 * bin] = (xr * re - xi * im) * scale
      spectrum[2 * bin + 1] = (xr * im + xi * re) * scale
    }
  }

  // MARK: State

  /// Everything that later frames need of the past, as named tensors.
  public var state: MixerState { MixerState(memory.tensors) }

  /// Goes on where `state` was taken, by a processor of the same model.
  /// - Throws: `MixerError.state` where it is not such a state; nothing has changed then.
  public func restore(_ state: MixerState) throws {
    guard state.contains("clock"), let frames = state["clock"].floats.first,
      frames.isFinite, frames >= 0, frames < Float(2 * period), frames == frames.rounded()
    else { throw MixerError.state(reason: "clock is not a number of frames") }
    try memory.restore(state)
  }

  /// Numbers of the state.
  public var stateCount: Int { memory.stateCount }

  /// Writes the state's `stateCount` numbers.
  public func saveState(to target: UnsafeMutablePointer<Float>) { memory.save(to: target) }

  /// Takes `stateCount` numbers that `saveState` of a processor of the same model wrote; false, and nothing changed,
  /// where they cannot be such.
  public func restoreState(from source: UnsafePointer<Float>) -> Bool {
    let frames = source[0]
    guard frames >= 0, frames < Float(2 * period), frames == frames.rounded(),
      (0..<stateCount).allSatisfy({ source[$0].isFinite })
    else { return false }
    memory.restore(from: source)
    return true
  }
}
