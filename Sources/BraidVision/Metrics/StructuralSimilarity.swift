import BraidTensor
import Glibc

/// The SSIM of one channel (Wang et al., "Image quality assessment: from error visibility to structural
/// similarity", 2004).
enum StructuralSimilarity {
  static let taps = 11

  /// A Gaussian of sigma 1.5 over 11 taps, of sum 1.
  static let window: [Double] = {
    let raw = (0..<taps).map { exp(-Double(($0 - 5) * ($0 - 5)) / (2 * 1.5 * 1.5)) }
    let sum = raw.reduce(0, +)
    return raw.map { $0 / sum }
  }()

  /// The mean over the (height - 10) x (width - 10) positions where the window fits whole.
  static func mean(_ a: [Double], _ b: [Double], width: Int, height: Int, peak: Double) -> Double {
    let (rows, columns) = (height - taps + 1, width - taps + 1)
    precondition(rows > 0 && columns > 0, "SSIM: \(height) x \(width) is smaller than the window")
    // One sum a row, added in order: the result does not depend on the threads.
    var rowSums = [Double](repeating: 0, count: rows)
    rowSums.withUnsafeMutableBufferPointer { sums in
      let sums = sums.baseAddress!
      a.withUnsafeBufferPointer { a in
        b.withUnsafeBufferPointer { b in
          parallelRanges(rows, minimum: 16) { range in
            for row in range {
              sums[row] = rowSum(
                a.baseAddress! + row * width, b.baseAddress! + row * width, width: width, columns: columns,
                peak: peak)
            }
          }
        }
      }
    }
    return rowSums.reduce(0, +) / Double(rows * columns)
  }

  /// The sum over one row of positions; `a` and `b` point to the first of its eleven rows.
  private static func rowSum(
    _ a: UnsafePointer<Double>, _ b: UnsafePointer<Double>, width: Int, columns: Int, peak: Double
  ) -> Double {
    let c1 = (0.01 * peak) * (0.01 * peak)
    let c2 = (0.03 * peak) * (0.03 * peak)
    return withUnsafeTemporaryAllocation(of: Double.self, capacity: 5 * width) { buffer in
      buffer.initialize(repeating: 0)
      let vertical = buffer.baseAddress!
      for tap in 0..<taps {
        let weight = window[tap]
        let (rowA, rowB) = (a + tap * width, b + tap * width)
        for x in 0..<width {
          let (p, q) = (rowA[x], rowB[x])
          vertical[x] += weight * p
          vertical[width + x] += weight * q
          vertical[2 * width + x] += weight * p * p
          vertical[3 * width + x] += weight * q * q
          vertical[4 * width + x] += weight * p * q
        }
      }
      return window.withUnsafeBufferPointer { window in
        var sum = 0.0
        for x in 0..<columns {
          func filtered(_ plane: Int) -> Double {
            var value = 0.0
            for tap in 0..<taps { value += window[tap] * vertical[plane * width + x + tap] }
            return value
          }
          let (meanA, meanB) = (filtered(0), filtered(1))
          let varianceA = filtered(2) - meanA * meanA
          let varianceB = filtered(3) - meanB * meanB
          let covariance = filtered(4) - meanA * meanB
          sum +=
            (2 * meanA * meanB + c1) * (2 * covariance + c2)
            / ((meanA * meanA + meanB * meanB + c1) * (varianceA + varianceB + c2))
        }
        return sum
      }
    }
  }
}
