import BraidTensor
import Foundation

/// y[n] = b0 x[n] + b1 x[n-1] + b2 x[n-2] - a1 y[n-1] - a2 y[n-2]
struct SecondOrderFilter: Sendable {
  var b0, b1, b2, a1, a2: Double

  func callAsFunction(_ x: [Float]) -> [Float] {
    var (s1, s2) = (0.0, 0.0)
    return x.map { sample in
      let value = Double(sample)
      let y = b0 * value + s1
      s1 = b1 * value - a1 * y + s2
      s2 = b2 * value - a2 * y
      return Float(y)
    }
  }

  /// A gentle random colouring.
  ///
  /// Source: Valin, "A hybrid DSP/deep learning approach to real-time full-band speech enhancement", 2018, eq. 9.
  static func random(using draw: inout Philox) -> SecondOrderFilter {
    func coefficient() -> Double { Double(draw.uniform(-0.375...0.375)) }
    return SecondOrderFilter(
      b0: 1, b1: coefficient(), b2: coefficient(), a1: coefficient(), a2: coefficient())
  }

  /// A Butterworth low pass of fourth order; the cutoff in parts of the sample rate, below 0.5.
  static func lowPass(_ cutoff: Float) -> [SecondOrderFilter] {
    let k = tan(.pi * Double(cutoff))
    return [0.541_196_100_146_197, 1.306_562_964_876_377].map { q in
      let scale = 1 / (1 + k / q + k * k)
      return SecondOrderFilter(
        b0: k * k * scale, b1: 2 * k * k * scale, b2: k * k * scale, a1: 2 * (k * k - 1) * scale,
        a2: (1 - k / q + k * k) * scale)
    }
  }
}
