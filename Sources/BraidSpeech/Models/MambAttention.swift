import BraidNN
import BraidTensor

/// MambAttention: shared attention and bidirectional Mamba over time and frequency, between a dense encoder and
/// decoders of magnitude and phase.
///
/// Maps are [batch, time, frequency, channels]; names and shapes are those of the published checkpoint.
/// Source: Kuehne et al., "MambAttention: Mamba with multi-head attention for generalizable single-channel speech
/// enhancement", 2025.
public struct MambAttention: EnhancementModel {
  public static let architecture = "mambattention"

  public struct Configuration: Codable, Hashable, Sendable {
    public var channels: Int
    public var blocks: Int
    public var heads: Int
    /// N of the scans.
    public var stateSize: Int
    /// Positions that the convolution before a scan sees.
    public var kernelSize: Int
    /// Channels of a scan over channels.
    public var expansion: Int
    public var normEpsilon: Float
    /// Samples of a frame and from one to the next, at 16 kHz.
    public var frameSize: Int
    public var hop: Int
    /// Magnitudes enter and leave to this power.
    public var compression: Float
    /// The largest factor of the magnitude mask.
    public var maskLimit: Float

    /// The published model where nothing is said.
    public init(
      channels: Int = 64, blocks: Int = 4, heads: Int = 8, stateSize: Int = 16, kernelSize: Int = 4,
      expansion: Int = 4, normEpsilon: Float = 1e-5, frameSize: Int = 400, hop: Int = 100,
      compression: Float = 0.3, maskLimit: Float = 2
    ) {
      self.channels = channels
      self.blocks = blocks
      self.heads = heads
      self.stateSize = stateSize
      self.kernelSize = kernelSize
      self.expansion = expansion
      self.normEpsilon = normEpsilon
      self.frameSize = frameSize
      self.hop = hop
      self.compression = compression
      self.maskLimit = maskLimit
    }
  }

  public let parameters: ParameterStore
  public let configuration: Configuration
  public let transform: ShortTimeFourier
  let first: NormalizedConvolution
  let dense: DenseBlock
  let halving: NormalizedConvolution
  let blocks: [TimeFrequencyBlock]
  let magnitude: MagnitudeDecoder
  let phase: PhaseDecoder

  public var sampleRate: Int { 16000 }
  public var shortestSignal: Int { transform.shortestSignal }

  /// The model without values, its parameters in `store`.
  /// - Throws: what a configuration that makes no sense is refused with.
  public init(_ c: Configuration, store: ParameterStore = ParameterStore()) throws {
    configuration = c
    parameters = store
    let scope = store.root
    transform = ShortTimeFourier(size: c.frameSize, hop: c.hop)
    let encoder = scope("dense_encoder")
    first = NormalizedConvolution(encoder("dense_conv_1"), inputs: 2, outputs: c.channels, kernel: (1, 1))
    dense = DenseBlock(encoder("dense_block"), channels: c.channels)
    halving = NormalizedConvolution(
      encoder("dense_conv_2"), inputs: c.channels, outputs: c.channels, kernel: (1, 3))
    blocks = try (0..<c.blocks).map { try TimeFrequencyBlock(scope("TFMambAttention")($0), c) }
    magnitude = MagnitudeDecoder(scope("mask_decoder"), c, bins: transform.bins)
    phase = PhaseDecoder(scope("phase_decoder"), c)
  }

  /// Clean compressed magnitude and the direction of its phase, from noisy compressed magnitude and phase.
  ///
  /// - Parameters: each [batch, frames, bins].
  /// - Returns: magnitude [batch, frames, bins]; real and imaginary part of a number whose angle is the phase.
  public func callAsFunction(magnitude noisy: Tensor, phase noisyPhase: Tensor) -> (
    magnitude: Tensor, real: Tensor, imaginary: Tensor
  ) {
    let none = ConvolutionAxes(stride: [1, 1], padding: [0, 0], dilation: [1, 1])
    let half = ConvolutionAxes(stride: [1, 2], padding: [0, 0], dilation: [1, 1])
    var x = first(Tensor.stacked([noisy, noisyPhase], axis: -1), axes: none)
    x = halving(dense(x), axes: half)
    for block in blocks { x = block(x) }
    let (real, imaginary) = phase(x)
    return (noisy * magnitude(x), real, imaginary)
  }

  /// The compressed spectrum [batch, frames, bins, 2] of a magnitude and a direction.
  static func spectrum(magnitude: Tensor, real: Tensor, imaginary: Tensor) -> Tensor {
    let square = real.squared() + imaginary.squared()
    // The angle of the origin is 0; there, the square root has no gradient.
    let origin = square.equal(Tensor(0))
    let scale = magnitude / (square + origin).squareRoot()
    return Tensor.stacked([(real + origin) * scale, imaginary * scale], axis: -1)
  }

  public func estimate(_ signals: Tensor) -> SpeechEstimate {
    let (size, angle) = transform.polarSpectra(
      signals, gains: [Double](repeating: 1, count: signals.shape[0]),
      compression: Double(configuration.compression))
    let (clean, real, imaginary) = self(magnitude: size, phase: angle)
    return SpeechEstimate(
      magnitude: clean, spectrum: Self.spectrum(magnitude: clean, real: real, imaginary: imaginary),
      signal: transform.signals(
        Self.spectrum(
          magnitude: clean.power(1 / configuration.compression), real: real, imaginary: imaginary),
        length: signals.shape[1]))
  }

  /// The enhanced signals: [batch, samples] at 16 kHz to the same shape.
  ///
  /// Each signal is scaled to unit mean square on the way in, and back on the way out.
  public func enhanced(_ signals: Tensor) -> Tensor {
    let (batch, length) = (signals.shape[0], signals.shape[1])
    let gains = signals.read { samples in
      (0..<batch).map { row in
        let energy = (row * length..<(row + 1) * length).reduce(0.0) {
          $0 + Double(samples[$1]) * Double(samples[$1])
        }
        // A silent signal stays silent.
        return energy > 0 ? (Double(length) / energy).squareRoot() : 1
      }
    }
    let (size, angle) = transform.polarSpectra(
      signals, gains: gains, compression: Double(configuration.compression))
    let (clean, real, imaginary) = self(magnitude: size, phase: angle)
    let enhanced = Self.spectrum(
      magnitude: clean.power(1 / configuration.compression), real: real, imaginary: imaginary)
    return transform.signals(enhanced, length: length)
      / Tensor(gains.map { Float($0) }, shape: [batch, 1])
  }
}
