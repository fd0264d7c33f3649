import BraidNN
import BraidTensor

/// MambAttention: shared attention and bidirectional Mamba over time and frequency, between a dense encoder and
/// decoders of magnitude and phase.
///
/// Maps are [batch, time, frequency, channels]; names and shapes are those of the published checkpoint.
/// Source: Kuehne et al., "MambAttention: Mamba with multi-head attention for generalizable single-channel speech
/// enhancement", 2025.
public struct MambAttention: Sendable {
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

  public let configuration: Configuration
  public let transform: ShortTimeFourier
  let first: NormalizedConvolution
  let dense: DenseBlock
  let halving: NormalizedConvolution
  let blocks: [TimeFrequencyBlock]
  let magnitude: MagnitudeDecoder
  let phase: PhaseDecoder

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    configuration = c
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
    let radius = (real.squared() + imaginary.squared()).squareRoot()
    let origin = radius.equal(Tensor(0))
    let scale = clean.power(1 / configuration.compression) / (radius + origin)
    // The angle of the origin is 0.
    let enhanced = Tensor.stacked([(real + origin) * scale, imaginary * scale], axis: -1)
    return transform.signals(enhanced, length: length)
      / Tensor(gains.map { Float($0) }, shape: [batch, 1])
  }
}
