import BraidNN
import BraidTensor

/// A network that turns noisy speech into clean speech.
public protocol EnhancementModel: Sendable {
  /// The name of the architecture, as in the catalogue and in saved files.
  static var architecture: String { get }

  var parameters: ParameterStore { get }
  /// Samples a second of what goes in and comes out.
  var sampleRate: Int { get }
  /// The fewest samples that can be enhanced.
  var shortestSignal: Int { get }
  /// The transform between signals and the spectra of an estimate.
  var transform: ShortTimeFourier { get }
  /// The power that compresses the magnitudes of an estimate.
  var compression: Float { get }
  /// Bytes of peak memory per second of a signal, about, for choosing a segment.
  var bytesPerSecond: Int { get }
  /// Seconds of the longest segment that is chosen where nothing is asked for; nil for all that fits in memory.
  var longestSegment: Int? { get }

  /// The enhanced signals: [batch, samples] to the same shape.
  func enhanced(_ signals: Tensor) -> Tensor

  /// What losses compare, from noisy signals [batch, samples] of about unit mean square; gradients flow to the
  /// parameters.
  func estimate(_ signals: Tensor) -> SpeechEstimate
}

extension EnhancementModel {
  /// On the safe side for models of a few million parameters.
  public var bytesPerSecond: Int { 64 << 20 }
  public var longestSegment: Int? { nil }
}

/// Clean speech as a model estimates it.
public struct SpeechEstimate {
  /// Compressed magnitudes [batch, frames, bins].
  public let magnitude: Tensor
  /// The compressed spectrum [batch, frames, bins, 2]: its angle is the phase, its length the magnitude.
  public let spectrum: Tensor
  /// [batch, samples]
  public let signal: Tensor

  public init(magnitude: Tensor, spectrum: Tensor, signal: Tensor) {
    self.magnitude = magnitude
    self.spectrum = spectrum
    self.signal = signal
  }
}
