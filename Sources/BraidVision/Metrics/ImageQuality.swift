import BraidTensor
import Glibc

/// PSNR and SSIM of pictures, as BasicSR computes them (basicsr/metrics/psnr_ssim.py).
///
/// Samples count on a scale of 0...255 (16-bit ones are divided by 257); alpha is left out. With `yChannel`,
/// colour pictures are compared on the Y of BT.601, kept as a float; grey ones are compared as they are.
public enum ImageQuality {
  /// Why two pictures cannot be compared.
  public enum Failure: Error, Equatable, Sendable, CustomStringConvertible {
    case sizes(String, String)
    case tooSmall(width: Int, height: Int, cropBorder: Int)

    public var description: String {
      switch self {
      case .sizes(let a, let b):
        "pictures of different sizes cannot be compared: \(a) and \(b)"
      case .tooSmall(let width, let height, let cropBorder):
        "\(width) x \(height) pixels are too few to compare with \(cropBorder) cropped at each border"
      }
    }
  }

  /// The peak signal-to-noise ratio in dB, infinite for equal pictures; throws `Failure`.
  public static func psnr(
    _ a: ImageBuffer, _ b: ImageBuffer, cropBorder: Int = 0, yChannel: Bool = false
  ) throws -> Double {
    var sum = 0.0
    var count = 0
    try compare(a, b, cropBorder: cropBorder, yChannel: yChannel, minimum: 1) { a, b, _, _ in
      for (x, y) in zip(a, b) { sum += (x - y) * (x - y) }
      count += a.count
    }
    return decibels(sum / Double(count), peak: 255)
  }

  /// The structural similarity, mean over channels, with an 11 x 11 Gaussian of sigma 1.5 on the valid region;
  /// throws `Failure`, also where less than 11 x 11 pixels are left.
  public static func ssim(
    _ a: ImageBuffer, _ b: ImageBuffer, cropBorder: Int = 0, yChannel: Bool = false
  ) throws -> Double {
    var sum = 0.0
    var count = 0
    try compare(a, b, cropBorder: cropBorder, yChannel: yChannel, minimum: StructuralSimilarity.taps) {
      sum += StructuralSimilarity.mean($0, $1, width: $2, height: $3, peak: 255)
      count += 1
    }
    return sum / Double(count)
  }

  /// The peak signal-to-noise ratio in dB of float tensors of one shape; nothing is clamped or rounded.
  public static func psnr(_ a: Tensor, _ b: Tensor, peak: Double = 1) -> Double {
    precondition(a.shape == b.shape, "psnr: shapes \(a.shape) and \(b.shape) differ")
    var sum = 0.0
    a.read { x in
      b.read { y in
        for i in 0..<a.elementCount {
          let difference = Double(x[i]) - Double(y[i])
          sum += difference * difference
        }
      }
    }
    return decibels(sum / Double(a.elementCount), peak: peak)
  }

  static func decibels(_ meanSquaredError: Double, peak: Double) -> Double {
    meanSquaredError == 0 ? .infinity : 10 * log10(peak * peak / meanSquaredError)
  }

  private enum Component {
    case channel(Int), luma
  }

  /// Calls `body` with one cropped channel of both pictures after the other, and its width and height.
  private static func compare(
    _ a: ImageBuffer, _ b: ImageBuffer, cropBorder: Int, yChannel: Bool, minimum: Int,
    _ body: (_ a: [Double], _ b: [Double], _ width: Int, _ height: Int) -> Void
  ) throws {
    guard a.width == b.width, a.height == b.height else {
      throw Failure.sizes("\(a.width) x \(a.height)", "\(b.width) x \(b.height)")
    }
    let (width, height) = (a.width - 2 * cropBorder, a.height - 2 * cropBorder)
    guard width >= minimum, height >= minimum, cropBorder >= 0 else {
      throw Failure.tooSmall(width: a.width, height: a.height, cropBorder: cropBorder)
    }
    // Grey against colour: grey is colour of three equal channels.
    let colour = a.colourModel == .rgb || b.colourModel == .rgb
    let components: [Component] =
      !colour ? [.channel(0)] : yChannel ? [.luma] : [.channel(0), .channel(1), .channel(2)]
    for component in components {
      body(plane(a, cropBorder, component), plane(b, cropBorder, component), width, height)
    }
  }

  /// One channel on a scale of 0...255 without its border.
  private static func plane(_ image: ImageBuffer, _ crop: Int, _ component: Component) -> [Double] {
    let (width, height) = (image.width - 2 * crop, image.height - 2 * crop)
    let (stride, green) = (image.channels, image.colourModel == .rgb ? 1 : 0)
    func gather<Sample: FixedWidthInteger>(_ samples: [Sample], _ unit: Double) -> [Double] {
      [Double](unsafeUninitializedCapacity: width * height) { out, count in
        samples.withUnsafeBufferPointer { samples in
          for y in 0..<height {
            for x in 0..<width {
              let at = ((crop + y) * image.width + crop + x) * stride
              switch component {
              case .channel(let channel): out[y * width + x] = Double(samples[at + channel * green]) / unit
              case .luma:
                out[y * width + x] = luma(
                  Double(samples[at]) / unit, Double(samples[at + green]) / unit,
                  Double(samples[at + 2 * green]) / unit)
              }
            }
          }
        }
        count = width * height
      }
    }
    return switch image.samples {
    case .eight(let samples): gather(samples, 1)
    case .sixteen(let samples): gather(samples, 257)
    }
  }

  /// Y of BT.601 for R, G, B on a scale of 255, with the float32 steps of BasicSR's bgr2ycbcr.
  @inline(__always)
  private static func luma(_ r: Double, _ g: Double, _ b: Double) -> Double {
    let (r, g, b) = (Double(Float(r) / 255), Double(Float(g) / 255), Double(Float(b) / 255))
    let y = Float((24.966 * b + 128.553 * g + 65.481 * r + 16) / 255)
    return Double(y * 255)
  }
}
