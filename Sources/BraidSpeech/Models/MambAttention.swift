import BraidMixers
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
  public var compression: Float { configuration.compression }

  /// The model without values, its parameters in `store`.
  /// - Throws: what a configuration that makes no sense is refused with.
  public init(_ c: Configuration, store: ParameterStore = ParameterStore()) throws {
    if let problem = c.problem { throw MixerError.configuration(mixer: Self.architecture, reason: problem) }
    configuration = c
    parameters = store
    let scope = store.root
    transform = ShortTimeFourier(size: c.frameSize, hop: c.hop)
    let encoder = scope("dense_encoder")
    first = NormalizedConvolution(
      encoder("dense_conv_1"), inputs: c.input.channels, outputs: c.channels, kernel: (1, 1))
    dense = DenseBlock(encoder("dense_block"), channels: c.channels, depth: c.denseDepth)
    halving = NormalizedConvolution(
      encoder("dense_conv_2"), inputs: c.channels, outputs: c.channels, kernel: (1, 3))
    blocks = try (0..<c.blocks).map { try TimeFrequencyBlock(scope(c.blocksName)($0), c) }
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
    let half = ConvolutionAxes(stride: [1, 2], padding: [0, 0], dilation: [1, 1])
    let usesDirection = configuration.input == .complex || configuration.phase == .residual
    let (cosine, sine) = usesDirection ? (noisyPhase.cosine(), noisyPhase.sine()) : (noisyPhase, noisyPhase)
    let channels =
      configuration.input == .polar ? [noisy, noisyPhase] : [noisy, noisy * cosine, noisy * sine]
    var x = halving(dense(Tensor.stacked(channels, axis: -1), behind: first), axes: half)
    // The encoder's maps are the largest, and nothing that follows has their size: of a long recording they go back to
    // the system instead of being kept for reuse.
    if !Autograd.isRecording && x.elementCount >= 16 << 20 { Memory.releaseCache() }
    for block in blocks { block.apply(to: &x) }
    let (real, imaginary) = phase(x)
    let mask = magnitude(x)
    guard configuration.phase == .residual else { return (noisy * mask, real, imaginary) }
    let along = 1 + real
    return (noisy * mask, cosine * along - sine * imaginary, sine * along + cosine * imaginary)
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
