import BraidTensor
import Foundation

/// Noise whose power falls with frequency.
enum ColouredNoise {
  /// Gaussian noise with a power of 1 / f^slope (0 white, 1 pink, 2 red, -1 blue).
  static func signal(_ count: Int, slope: Float, using draw: inout Philox) -> [Float] {
    // The transform wants an even length.
    let length = count + count % 2
    let bins = length / 2 + 1
    let white = Tensor.normal([bins, 2], using: &draw)
    let gains = Tensor.build([bins, 1]) { out in
      out[0] = 0
      for bin in 1..<bins { out[bin] = Float(pow(Double(bin), -Double(slope) / 2)) }
    }
    let signal = withoutGradient { (white * gains).inverseRealFourierTransformed(length: length) }
    return Array(signal.floats[0..<count])
  }
}
