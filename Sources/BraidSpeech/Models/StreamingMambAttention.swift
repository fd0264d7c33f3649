import BraidMixers
import BraidNN
import BraidTensor

/// A causal MambAttention for streams: what comes out depends on the past and one frame alone.
///
///     features of every bin (see `FrameAnalyzer`)  [batch, time, bins, 4]
///     e_1, e_2, e_3 = SiLU of convolutions, causal over time, halving the frequencies      e_3 without SiLU
///     x = e_3 + position;  x = block(x), several times (see `StreamingBlock`)
///     d_2 = e_2 + SiLU(x widened), d_1 = e_1 + SiLU(d_2 widened);  [s, p, q] = d_1 widened  [batch, time, bins, 3]
///     Y = X limit sigmoid(slope s) (1 + p + i q) / |1 + p + i q|
///
/// The published model's parts with what a stream allows: a running level in the place of the utterance's, layer
/// norms in the place of instance norms, Mamba forward in time, attention over a window of past frames.
public struct StreamingMambAttention: EnhancementModel {
  public static let architecture = "mambattention-stream"

  public struct Configuration: Codable, Hashable, Sendable {
    /// Samples of a frame, which is the latency, and from one to the next, at 16 kHz.
    public var frameSize: Int
    public var hop: Int
    /// Channels of the first two maps of the encoder.
    public var encoderChannels: [Int]
    public var channels: Int
    public var blocks: Int
    public var heads: Int
    /// N of the scans.
    public var stateSize: Int
    /// Positions that the convolution before a scan sees.
    public var kernelSize: Int
    /// Channels of a scan over channels.
    public var expansion: Int
    /// Inner channels of the feed-forward layers over channels.
    public var feedForward: Int
    /// Frames that attention over time sees, the present one included.
    public var window: Int
    /// Magnitudes enter to this power.
    public var compression: Float
    /// The largest factor of the magnitude mask.
    public var maskLimit: Float
    /// Frames that the running level remembers.
    public var levelMemory: Int

    public init(
      frameSize: Int = 480, hop: Int = 160, encoderChannels: [Int] = [16, 32], channels: Int = 48,
      blocks: Int = 2, heads: Int = 3, stateSize: Int = 16, kernelSize: Int = 4, expansion: Int = 2,
      feedForward: Int = 2, window: Int = 48, compression: Float = 0.3, maskLimit: Float = 2,
      levelMemory: Int = 150
    ) {
      self.frameSize = frameSize
      self.hop = hop
      self.encoderChannels = encoderChannels
      self.channels = channels
      self.blocks = blocks
      self.heads = heads
      self.stateSize = stateSize
      self.kernelSize = kernelSize
      self.expansion = expansion
      self.feedForward = feedForward
      self.window = window
      self.compression = compression
      self.maskLimit = maskLimit
      self.levelMemory = levelMemory
    }

    /// Why no model can be built, or nil.
    public var problem: String? {
      let sizes = [
        channels, blocks, heads, stateSize, kernelSize, expansion, feedForward, window, levelMemory,
      ]
      guard (sizes + encoderChannels).allSatisfy({ (1...4096).contains($0) }), encoderChannels.count == 2
      else {
        return "sizes must be from 1 to 4096, and the encoder has two maps: \(self)"
      }
      guard hop > 0, frameSize <= 4096, frameSize % hop == 0, frameSize > hop, frameSize % 8 == 0 else {
        return "a frame of \(frameSize) samples every \(hop): a multiple of 8 and of the hop, up to 4096"
      }
      if channels % heads != 0 { return "\(channels) channels do not split into \(heads) heads" }
      // The kernels of attention take that many keys at a time.
      if window > 320 || widths[2] > 320 {
        return "attention over \(window) frames and \(widths[2]) frequencies"
      }
      if !(compression > 0 && compression <= 1 && maskLimit > 0 && maskLimit.isFinite) {
        return "compression \(compression), mask limit \(maskLimit)"
      }
      return nil
    }

    /// Frequency bins of a frame.
    public var bins: Int { frameSize / 2 + 1 }
    /// Frequencies of the encoder's maps, first to last.
    var widths: [Int] { [(bins + 1) / 2, ((bins + 1) / 2 + 1) / 2, (((bins + 1) / 2 + 1) / 2 + 1) / 2] }
  }

  public let configuration: Configuration
  public let parameters: ParameterStore
  let encoder: [CausalMapConvolution]
  let position: Parameter
  let blocks: [StreamingBlock]
  let decoder: [WideningConvolution]
  let slope: Parameter
  /// The transform in which estimates are compared: the published model's, not the stream's own.
  public let transform = ShortTimeFourier()

  public var sampleRate: Int { 16000 }
  public var compression: Float { configuration.compression }
  public var shortestSignal: Int { 1 }

  /// The model without values, its parameters in `store`.
  /// - Throws: `MixerError.configuration` where the configuration makes no sense.
  public init(_ c: Configuration, store: ParameterStore = ParameterStore()) throws {
    if let problem = c.problem {
      throw MixerError.configuration(mixer: Self.architecture, reason: problem)
    }
    configuration = c
    parameters = store
    let scope = store.root
    let (first, second) = (c.encoderChannels[0], c.encoderChannels[1])
    encoder = [
      CausalMapConvolution(
        scope("encoder")(0), inputs: FrameAnalyzer.featureCount, outputs: first, kernel: (2, 5)),
      CausalMapConvolution(scope("encoder")(1), inputs: first, outputs: second, kernel: (2, 3)),
      CausalMapConvolution(scope("encoder")(2), inputs: second, outputs: c.channels, kernel: (2, 3)),
    ]
    position = scope.parameter("position", [c.widths[2], c.channels], init: .normal(0.1))
    blocks = try (0..<c.blocks).map { try StreamingBlock(scope("blocks")($0), c) }
    decoder = [
      WideningConvolution(scope("decoder")(0), inputs: c.channels, outputs: second, kernel: 3),
      WideningConvolution(scope("decoder")(1), inputs: second, outputs: first, kernel: 3),
      WideningConvolution(scope("decoder")(2), inputs: first, outputs: 3, kernel: 5, isLast: true),
    ]
    slope = scope("mask").parameter("slope", [c.bins], init: .ones)
  }

  /// The state before the first frame of `batch` signals.
  func initialState(batch: Int) -> MixerState {
    var state = MixerState()
    let c = configuration
    let maps = [(c.bins, FrameAnalyzer.featureCount)] + zip(c.widths, c.encoderChannels).map { ($0, $1) }
    for (i, map) in maps.enumerated() { state["encoder.\(i)"] = .zeros([batch, 1, map.0, map.1]) }
    for (i, block) in blocks.enumerated() {
      state.children["block.\(i)"] = block.initialState(sequences: batch * c.widths[2])
    }
    return state
  }

  /// The numbers [batch, time, bins, 3] that make the mask, from the features of the next frames; the state moves on.
  func callAsFunction(_ features: Tensor, state: inout MixerState) -> Tensor {
    let isFirst = state.position == 0
    var maps: [Tensor] = []
    var x = features
    for (i, layer) in encoder.enumerated() {
      let isLast = i + 1 == encoder.count
      x = layer(x, past: isFirst ? nil : state["encoder.\(i)"], next: &state["encoder.\(i)"], isLast: isLast)
      maps.append(x)
    }
    x = x + position.value
    for (i, block) in blocks.enumerated() { x = block(x, state: &state[child: "block.\(i)"]) }
    state.position += features.shape[1]
    for (i, layer) in decoder.enumerated() {
      let width = i == 2 ? configuration.bins : configuration.widths[1 - i]
      x = layer(x, width: width, residual: i == 2 ? nil : maps[1 - i])
    }
    return x
  }

  /// The spectra [batch, time, bins, 2] times the mask that `numbers` [batch, time, bins, 3] make.
  private func masked(_ spectra: Tensor, by numbers: Tensor) -> Tensor {
    let parts = numbers.permuted(3, 0, 1, 2).contiguous()
    let (re, im) = (parts.selected(axis: 0, 1) + 1, parts.selected(axis: 0, 2))
    let gain = (parts.selected(axis: 0, 0) * slope.value).sigmoid() * configuration.maskLimit
    let scale = gain * (re.squared() + im.squared() + Self.directionFloor).reciprocalSquareRoot()
    let (mr, mi) = (re * scale, im * scale)
    let (xr, xi) = (spectra.selected(axis: -1, 0).contiguous(), spectra.selected(axis: -1, 1).contiguous())
    return Tensor.stacked([xr * mr - xi * mi, xr * mi + xi * mr], axis: -1)
  }

  /// Added to the square of the mask's direction, so that its gradient stays finite at the origin.
  static let directionFloor: Float = 1e-6

  /// Frames that signals of that many samples take: one for each hop, and those that finish the last.
  func frameCount(_ length: Int) -> Int {
    (length + configuration.hop - 1) / configuration.hop + configuration.frameSize / configuration.hop - 1
  }

  /// Spectra [batch, time, bins, 2] and features [batch, time, bins, 4] of signals; frame t ends with the samples of
  /// hop t. Not recorded.
  func analyzed(_ signals: Tensor) -> (spectra: Tensor, features: Tensor) {
    let c = configuration
    let (batch, length, frames) = (signals.shape[0], signals.shape[1], frameCount(signals.shape[1]))
    let padded = signals.detached.padded(
      axis: 1, before: c.frameSize - c.hop, after: frames * c.hop - length)
    let spectra = Tensor.uninitialized([batch, frames, c.bins, 2])
    let features = Tensor.build([batch, frames, c.bins, FrameAnalyzer.featureCount]) { features in
      spectra.overwrite(as: Float.self) { spectra in
        padded.read { samples in
          parallelFor(batch) { row in
            let count = FrameAnalyzer.stateCount(size: c.frameSize)
            withUnsafeTemporaryAllocation(of: Float.self, capacity: count) { state in
              state.initialize(repeating: 0)
              let analyzer = FrameAnalyzer(
                size: c.frameSize, compression: c.compression, levelMemory: c.levelMemory,
                state: state.baseAddress!)
              for t in 0..<frames {
                let index = row * frames + t
                analyzer.analyze(
                  samples + row * padded.shape[1] + t * c.hop, spectrum: spectra + index * c.bins * 2,
                  features: features + index * c.bins * FrameAnalyzer.featureCount)
              }
            }
          }
        }
      }
    }
    return (spectra, features)
  }

  /// The enhanced signals: [batch, samples] to the same shape; gradients flow to the parameters.
  public func enhanced(_ signals: Tensor) -> Tensor {
    let c = configuration
    let (spectra, features) = analyzed(signals)
    var state = initialState(batch: signals.shape[0])
    let clean = masked(spectra, by: self(features, state: &state))
    let window = Tensor.build([c.frameSize]) { out in
      let scale = 2 * Double(c.hop) / Double(c.frameSize)
      for i in 0..<c.frameSize { out[i] = Float(FrameAnalyzer.window(i, of: c.frameSize) * scale) }
    }
    let added = (clean.inverseRealFourierTransformed(length: c.frameSize) * window).overlapAdded(hop: c.hop)
    let start = c.frameSize - c.hop
    return added.sliced(axis: 1, start..<start + signals.shape[1])
  }

  public func estimate(_ signals: Tensor) -> SpeechEstimate {
    let signal = enhanced(signals)
    let spectra = transform.spectra(signal)
    let power = spectra.squared().sum(axes: [-1], keepingAxes: true) + 1e-6
    let exponent = configuration.compression
    return SpeechEstimate(
      magnitude: power.power(exponent / 2).squeezed(-1), spectrum: spectra * power.power((exponent - 1) / 2),
      signal: signal)
  }
}
