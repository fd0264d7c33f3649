import Foundation

/// The resampling that published intelligibility scores are defined with (that of Octave's `resample`): a Kaiser
/// windowed sinc with 60 dB rejection, without delay.
enum PolyphaseResampler {
  static func resample(_ x: [Double], from: Int, to: Int) -> [Double] {
    var (a, b) = (from, to)
    while b != 0 { (a, b) = (b, a % b) }
    let (up, down) = (to / a, from / a)
    let filter = lowPass(up, down)
    let half = filter.count / 2
    let count = (x.count * up + down - 1) / down
    return (0..<count).map { n in
      // Output n stands at n x down of the signal with up - 1 zeros between samples.
      let centre = n * down
      let first = max(0, (centre - half + up - 1) / up)
      let last = min(x.count - 1, (centre + half) / up)
      var sum = 0.0
      if first <= last { for i in first...last { sum += x[i] * filter[centre - i * up + half] } }
      return sum
    }
  }

  /// A filter whose sum is `up`.
  private static func lowPass(_ up: Int, _ down: Int) -> [Double] {
    let cutoff = 1 / (2 * Double(max(up, down)))
    let rejection = 60.0
    let half = Int(((rejection - 8) / (28.714 * cutoff / 10)).rounded(.up))
    let beta = 0.1102 * (rejection - 8.7)
    var filter = (-half...half).map { t -> Double in
      let angle = Double.pi * 2 * cutoff * Double(t)
      let sinc = t == 0 ? 1 : sin(angle) / angle
      let place = Double(t) / Double(half)
      return sinc * bessel(beta * max(0, 1 - place * place).squareRoot())
    }
    let sum = filter.reduce(0, +) / Double(up)
    for i in filter.indices { filter[i] /= sum }
    return filter
  }

  /// The modified Bessel function I0.
  private static func bessel(_ x: Double) -> Double {
    var (sum, term) = (1.0, 1.0)
    for k in 1..<60 {
      term *= (x / 2 / Double(k)) * (x / 2 / Double(k))
      sum += term
      if term < 1e-17 * sum { break }
    }
    return sum
  }
}
