import Foundation

/// Noisy speech from clean speech and noise.
public enum SpeechMixture {
  /// `clean` plus `noise` at a signal-to-noise ratio in dB.
  ///
  /// The noise is repeated from its start to the length of the speech; its gain follows from the two energies over
  /// the whole clip. The sum is not clipped. Where speech or noise is silent there is no such ratio: the speech comes
  /// back as it is.
  public static func noisy(_ clean: [Float], noise: [Float], ratio: Double) -> [Float] {
    guard !noise.isEmpty else { return clean }
    var (speech, disturbance) = (0.0, 0.0)
    for i in clean.indices {
      speech += Double(clean[i]) * Double(clean[i])
      let n = Double(noise[i % noise.count])
      disturbance += n * n
    }
    guard speech > 0, disturbance > 0 else { return clean }
    let gain = (speech / disturbance).squareRoot() * pow(10, -ratio / 20)
    return clean.indices.map { Float(Double(clean[$0]) + gain * Double(noise[$0 % noise.count])) }
  }
}
