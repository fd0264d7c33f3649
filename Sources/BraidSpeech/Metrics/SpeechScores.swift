/// How close a recording is to its clean reference, by five measures.
public struct SpeechScores: Sendable, Hashable {
  /// Scale-invariant signal-to-distortion ratio in dB.
  public var scaleInvariantRatio: Double
  /// Segmental signal-to-noise ratio in dB.
  public var segmentalRatio: Double
  /// Short-time objective intelligibility, at most 1, and its extended form.
  public var intelligibility: Double
  public var extendedIntelligibility: Double
  /// Log-spectral distance in dB; less is better.
  public var logSpectralDistance: Double

  /// The scores of mono samples against a reference of the same length.
  public init(_ signal: [Float], reference: [Float], sampleRate: Int) {
    scaleInvariantRatio = SpeechQuality.scaleInvariantRatio(signal, reference: reference)
    segmentalRatio = SpeechQuality.segmentalRatio(signal, reference: reference, sampleRate: sampleRate)
    intelligibility = Intelligibility.measure(
      signal, reference: reference, sampleRate: sampleRate, extended: false)
    extendedIntelligibility = Intelligibility.measure(
      signal, reference: reference, sampleRate: sampleRate, extended: true)
    logSpectralDistance = SpeechQuality.logSpectralDistance(
      signal, reference: reference, sampleRate: sampleRate)
  }

  /// The mean of several scores; nil of none.
  public init?(meanOf scores: [SpeechScores]) {
    guard var mean = scores.first else { return nil }
    for key in Self.all {
      mean[keyPath: key] = scores.reduce(0) { $0 + $1[keyPath: key] } / Double(scores.count)
    }
    self = mean
  }

  private static var all: [WritableKeyPath<SpeechScores, Double>] {
    [
      \.scaleInvariantRatio, \.segmentalRatio, \.intelligibility, \.extendedIntelligibility,
      \.logSpectralDistance,
    ]
  }
}
