import BraidTensor
import Glibc

/// Blurring by a Gaussian, separable; borders are mirrored without repeating the edge.
public enum GaussianBlur {
  /// Floats [height, width, channels] blurred with a standard deviation of `sigma` pixels; 0 changes nothing.
  public static func blur(_ image: Tensor, sigma: Double) -> Tensor {
    precondition(image.rank == 3, "GaussianBlur: \(image.shape) is not [H, W, C]")
    guard sigma > 0 else { return image }
    let (height, width, channels) = (image.shape[0], image.shape[1], image.shape[2])
    let radius = max(1, Int((3 * sigma).rounded(.up)))
    let raw = (-radius...radius).map { exp(-Double($0 * $0) / (2 * sigma * sigma)) }
    let sum = raw.reduce(0, +)
    let weights = raw.map { Float($0 / sum) }
    let rowCount = width * channels
    return Tensor.build(image.shape) { out in
      image.read { source in
        parallelRanges(height, minimum: 16) { range in
          withUnsafeTemporaryAllocation(of: Float.self, capacity: rowCount) { buffer in
            let row = buffer.baseAddress!
            for y in range {
              for i in 0..<rowCount { row[i] = 0 }
              for (tap, weight) in weights.enumerated() {
                let from = source + mirrored(y + tap - radius, height) * rowCount
                for i in 0..<rowCount { row[i] += weight * from[i] }
              }
              let target = out + y * rowCount
              for i in 0..<rowCount { target[i] = 0 }
              for (tap, weight) in weights.enumerated() {
                let shift = tap - radius
                // Only the ends of the row need the mirror.
                let inner = max(0, -shift)..<max(max(0, -shift), min(width, width - shift))
                for i in inner.lowerBound * channels..<inner.upperBound * channels {
                  target[i] += weight * row[i + shift * channels]
                }
                for x in 0..<width where !inner.contains(x) {
                  let from = mirrored(x + shift, width) * channels
                  for c in 0..<channels { target[x * channels + c] += weight * row[from + c] }
                }
              }
            }
          }
        }
      }
    }
  }

  /// `index` folded into 0..<count: ... 2 1 0 1 2 ... n-2 n-1 n-2 ...
  private static func mirrored(_ index: Int, _ count: Int) -> Int {
    if count == 1 { return 0 }
    let period = 2 * (count - 1)
    let folded = (index % period + period) % period
    return folded < count ? folded : period - folded
  }
}
