import Foundation

/// The discrete Fourier transform of one length in double precision, by mixed radices.
///
/// The phase of a weak bin is only as exact as the transform's rounding against the strongest bin; networks that
/// read phases need more than single precision gives.
struct PreciseFourier: Sendable {
  let length: Int
  /// exp(-2 pi i k / length): cosines and sines.
  private let cosine: [Double]
  private let sine: [Double]
  private let factors: [Int]

  init(length: Int) {
    self.length = length
    cosine = (0..<length).map { cos(2 * .pi * Double($0) / Double(length)) }
    sine = (0..<length).map { -sin(2 * .pi * Double($0) / Double(length)) }
    var factors: [Int] = []
    var rest = length
    var factor = 4
    while rest > 1 {
      while rest % factor != 0 { factor = factor == 4 ? 2 : factor == 2 ? 3 : factor + 2 }
      factors.append(factor)
      rest /= factor
    }
    self.factors = factors
  }

  /// The spectrum of real samples: `length` numbers to as many (real, imaginary) pairs; `scratch` holds
  /// 2 x `length` numbers.
  func transform(
    _ x: UnsafePointer<Double>, real: UnsafeMutablePointer<Double>, imaginary: UnsafeMutablePointer<Double>,
    scratch: UnsafeMutablePointer<Double>
  ) {
    // Stockham: stage by stage between two buffers, the last result in `real` and `imaginary`.
    var (ar, ai) = (scratch, scratch + length)
    var (br, bi) = (real, imaginary)
    if factors.count % 2 == 0 { swap(&ar, &br); swap(&ai, &bi) }
    ar.update(from: x, count: length)
    ai.update(repeating: 0, count: length)
    var (rest, done) = (length, 1)
    for radix in factors {
      rest /= radix
      for q in 0..<rest {
        for p in 0..<done {
          for k in 0..<radix {
            let step = (p + done * k) * rest % length
            var turn = 0
            var (sumReal, sumImaginary) = (0.0, 0.0)
            for j in 0..<radix {
              let from = p + done * (q + rest * j)
              let (c, s) = (cosine[turn], sine[turn])
              sumReal += ar[from] * c - ai[from] * s
              sumImaginary += ar[from] * s + ai[from] * c
              turn += step
              if turn >= length { turn -= length }
            }
            let to = p + done * (k + radix * q)
            br[to] = sumReal
            bi[to] = sumImaginary
          }
        }
      }
      done *= radix
      swap(&ar, &br)
      swap(&ai, &bi)
    }
  }
}

extension PreciseFourier {
  /// |X|^2 of real samples, bins 0 ... length / 2.
  func power(_ samples: [Double]) -> [Double] {
    withUnsafeTemporaryAllocation(of: Double.self, capacity: 4 * length) { memory in
      let real = memory.baseAddress!
      let imaginary = real + length
      samples.withUnsafeBufferPointer {
        transform($0.baseAddress!, real: real, imaginary: imaginary, scratch: real + 2 * length)
      }
      return (0...length / 2).map { real[$0] * real[$0] + imaginary[$0] * imaginary[$0] }
    }
  }
}
