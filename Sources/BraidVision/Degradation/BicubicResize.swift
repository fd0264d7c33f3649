import BraidTensor
import Glibc

/// Bicubic resizing as MATLAB's `imresize` does it: a = -0.5, antialiased when shrinking (the kernel is stretched by
/// the factor), borders mirrored, output sizes rounded up. Benchmarks of super-resolution are made with it.
public enum BicubicResize {
  /// Floats [height, width, channels] or [batch, height, width, channels] resized by `scale`, neither clamped nor
  /// rounded.
  public static func resize(_ image: Tensor, scale: Double) -> Tensor {
    precondition(
      (image.rank == 3 || image.rank == 4) && scale > 0 && image.elementCount > 0,
      "BicubicResize: \(image.shape) by \(scale)")
    let (height, width, channels) = (image.shape[-3], image.shape[-2], image.shape[-1])
    let vertical = Contributions(length: height, scale: scale)
    let horizontal = Contributions(length: width, scale: scale)
    var shape = image.shape
    shape.dimensions[image.rank - 3] = vertical.count
    shape.dimensions[image.rank - 2] = horizontal.count
    let batch = image.rank == 4 ? image.shape[0] : 1
    return Tensor.build(shape) { out in
      image.read { source in
        for index in 0..<batch {
          pass(
            source + index * height * width * channels, width, channels, vertical, horizontal,
            out + index * vertical.count * horizontal.count * channels)
        }
      }
    }
  }

  /// A picture resized by `scale`; the samples are rounded (half away from zero) after each of the two directions, as
  /// MATLAB does with integer pictures.
  public static func resize(_ image: ImageBuffer, scale: Double) -> ImageBuffer {
    precondition(scale > 0, "BicubicResize: scale \(scale)")
    let vertical = Contributions(length: image.height, scale: scale)
    let horizontal = Contributions(length: image.width, scale: scale)
    func run<Sample: FixedWidthInteger>(_ values: [Sample]) -> [Sample] {
      let top = Float(Sample.max)
      let source = values.map { Float($0) }
      let count = vertical.count * horizontal.count * image.channels
      let result = [Float](unsafeUninitializedCapacity: count) { out, filled in
        source.withUnsafeBufferPointer {
          pass(
            $0.baseAddress!, image.width, image.channels, vertical, horizontal, out.baseAddress!,
            rounding: top)
        }
        filled = count
      }
      return result.map { Sample($0) }
    }
    let samples: ImageBuffer.Samples =
      switch image.samples {
      case .eight(let values): .eight(run(values))
      case .sixteen(let values): .sixteen(run(values))
      }
    return ImageBuffer(
      width: horizontal.count, height: vertical.count, colourModel: image.colourModel,
      hasAlpha: image.hasAlpha, samples: samples, iccProfile: image.iccProfile, exif: image.exif)
  }

  /// Which inputs make an output, and with which weights.
  struct Contributions {
    /// Number of outputs, ceil(length * scale), and of inputs to each.
    let count: Int, taps: Int
    /// [count, taps], row-major.
    let indices: [Int]
    let weights: [Double]

    init(length: Int, scale: Double) {
      count = max(1, Int((Double(length) * scale).rounded(.up)))
      // When shrinking, the kernel is stretched so that it removes what the output cannot hold.
      let stretch = min(scale, 1)
      let kernelWidth = 4 / stretch
      taps = Int(kernelWidth.rounded(.up)) + 2
      var indices: [Int] = []
      var weights: [Double] = []
      for output in 1...count {
        let centre = Double(output) / scale + 0.5 * (1 - 1 / scale)
        let left = Int((centre - kernelWidth / 2).rounded(.down))
        let raw = (0..<taps).map { stretch * BicubicResize.kernel(stretch * (centre - Double(left + $0))) }
        let sum = raw.reduce(0, +)
        for tap in 0..<taps {
          weights.append(raw[tap] / sum)
          // 1, 2, ... n, n, ... 2, 1, 1, 2, ...
          let period = 2 * length
          let folded = ((left + tap - 1) % period + period) % period
          indices.append(folded < length ? folded : period - 1 - folded)
        }
      }
      self.indices = indices
      self.weights = weights
    }
  }

  /// Keys' cubic with a = -0.5.
  private static func kernel(_ x: Double) -> Double {
    let x = abs(x)
    if x <= 1 { return 1.5 * x * x * x - 2.5 * x * x + 1 }
    if x <= 2 { return -0.5 * x * x * x + 2.5 * x * x - 4 * x + 2 }
    return 0
  }

  /// Columns first, then rows, as MATLAB orders them. `rounding`: the largest integer, where the result is integer.
  private static func pass(
    _ source: UnsafePointer<Float>, _ width: Int, _ channels: Int, _ vertical: Contributions,
    _ horizontal: Contributions, _ out: UnsafeMutablePointer<Float>, rounding: Float? = nil
  ) {
    let rowCount = width * channels
    let outCount = horizontal.count * channels
    @inline(__always) func finished(_ value: Double) -> Float {
      guard let top = rounding else { return Float(value) }
      return min(max(Float((value + 0.5).rounded(.down)), 0), top)
    }
    parallelRanges(vertical.count, minimum: 8) { range in
      withUnsafeTemporaryAllocation(of: Double.self, capacity: rowCount) { sums in
        withUnsafeTemporaryAllocation(of: Float.self, capacity: rowCount) { row in
          let (sums, row) = (sums.baseAddress!, row.baseAddress!)
          for y in range {
            for i in 0..<rowCount { sums[i] = 0 }
            for tap in 0..<vertical.taps {
              let weight = vertical.weights[y * vertical.taps + tap]
              if weight == 0 { continue }
              let from = source + vertical.indices[y * vertical.taps + tap] * rowCount
              for i in 0..<rowCount { sums[i] += weight * Double(from[i]) }
            }
            for i in 0..<rowCount { row[i] = finished(sums[i]) }
            let target = out + y * outCount
            for x in 0..<horizontal.count {
              for c in 0..<channels {
                var sum = 0.0
                for tap in x * horizontal.taps..<(x + 1) * horizontal.taps {
                  sum += horizontal.weights[tap] * Double(row[horizontal.indices[tap] * channels + c])
                }
                target[x * channels + c] = finished(sum)
              }
            }
          }
        }
      }
    }
  }
}
