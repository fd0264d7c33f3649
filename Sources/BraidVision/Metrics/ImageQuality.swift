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
    let (a, b) = try planes(a, b, cropBorder: cropBorder, yChannel: yChannel, minimum: 1)
    var sum = 0.0
    for (x, y) in zip(a.values, b.values) { sum += (x - y) * (x - y) }
    return decibels(sum / Double(a.values.count), peak: 255)
  }

  /// The structural similarity, mean over channels, with an 11 x 11 Gaussian of sigma 1.5 on the valid region;
  /// throws `Failure`, also where less than 11 x 11 pixels are left.
  public static func ssim(
    _ a: ImageBuffer, _ b: ImageBuffer, cropBorder: Int = 0, yChannel: Bool = false
  ) throws -> Double {
    let (a, b) = try planes(a, b, cropBorder: cropBorder, yChannel: yChannel, minimum: 11)
    var sum = 0.0
    for channel in 0..<a.channels {
      sum += StructuralSimilarity.mean(
        a.channel(channel), b.channel(channel), width: a.width, height: a.height, peak: 255)
    }
    return sum / Double(a.channels)
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

  /// Cropped samples, [height, width, channels].
  struct Planes {
    var width: Int, height: Int, channels: Int
    var values: [Double]

    func channel(_ index: Int) -> [Double] {
      channels == 1 ? values : stride(from: index, to: values.count, by: channels).map { values[$0] }
    }
  }

  private static func planes(
    _ a: ImageBuffer, _ b: ImageBuffer, cropBorder: Int, yChannel: Bool, minimum: Int
  ) throws -> (Planes, Planes) {
    guard a.width == b.width, a.height == b.height else {
      throw Failure.sizes("\(a.width) x \(a.height)", "\(b.width) x \(b.height)")
    }
    guard a.width - 2 * cropBorder >= minimum, a.height - 2 * cropBorder >= minimum, cropBorder >= 0 else {
      throw Failure.tooSmall(width: a.width, height: a.height, cropBorder: cropBorder)
    }
    // Grey against colour: grey is colour of three equal channels.
    let colour = a.colourModel == .rgb || b.colourModel == .rgb
    return (
      planes(a, cropBorder, yChannel: yChannel, colour: colour),
      planes(b, cropBorder, yChannel: yChannel, colour: colour)
    )
  }

  private static func planes(
    _ image: ImageBuffer, _ crop: Int, yChannel: Bool, colour: Bool
  ) -> Planes {
    let (width, height) = (image.width - 2 * crop, image.height - 2 * crop)
    let channels = colour && !yChannel ? 3 : 1
    let (stride, green) = (image.channels, image.colourModel == .rgb ? 1 : 0)
    let blue = green * 2
    func gather<Sample: FixedWidthInteger>(_ samples: [Sample], _ unit: Double) -> [Double] {
      var values: [Double] = []
      values.reserveCapacity(width * height * channels)
      for y in crop..<crop + height {
        for x in crop..<crop + width {
          let at = (y * image.width + x) * stride
          let (r, g, b) = (
            Double(samples[at]) / unit, Double(samples[at + green]) / unit, Double(samples[at + blue]) / unit
          )
          if !colour {
            values.append(r)
          } else if yChannel {
            values.append(luma(r, g, b))
          } else {
            values.append(r)
            values.append(g)
            values.append(b)
          }
        }
      }
      return values
    }
    let values =
      switch image.samples {
      case .eight(let samples): gather(samples, 1)
      case .sixteen(let samples): gather(samples, 257)
      }
    return Planes(width: width, height: height, channels: channels, values: values)
  }

  /// Y of BT.601 for R, G, B on a scale of 255, with the float32 steps of BasicSR's bgr2ycbcr.
  @inline(__always)
  private static func luma(_ r: Double, _ g: Double, _ b: Double) -> Double {
    let (r, g, b) = (Double(Float(r) / 255), Double(Float(g) / 255), Double(Float(b) / 255))
    let y = Float((24.966 * b + 128.553 * g + 65.481 * r + 16) / 255)
    return Double(y * 255)
  }
}
