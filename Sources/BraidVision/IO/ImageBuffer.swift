/// A picture in memory: height x width x channels of 8 or 16 bits, rows from the top, channels interleaved.
///
/// Alpha, where there is one, is the last channel and straight (colours are not multiplied by it). The picture
/// is upright: an orientation that the file stated has been applied and reads 1 in `exif`.
public struct ImageBuffer: Sendable, Equatable {
  /// What the channels before alpha are.
  public enum ColourModel: Int, Sendable {
    case grey = 1
    case rgb = 3
  }

  /// The samples, row-major, at the depth at which they are kept.
  public enum Samples: Sendable, Equatable {
    case eight([UInt8])
    case sixteen([UInt16])
  }

  public let width: Int
  public let height: Int
  public let colourModel: ColourModel
  public let hasAlpha: Bool
  public let samples: Samples

  /// The colour profile that the samples refer to; nil where the file has none (sRGB is then usual).
  public var iccProfile: [UInt8]?
  /// The EXIF data: a TIFF structure without the "Exif\0\0" prefix.
  public var exif: [UInt8]?
  /// The format that the picture came from; nil where it was made in memory.
  public var sourceFormat: ImageFormat?
  /// The bits of a sample in the file that the picture came from (1...16, 32 for floats).
  public var sourceDepth: Int
  /// What a reader should know: "CMYK converted to RGB", an extension that lies, ...
  public var notes: [String] = []

  /// A picture of the given samples; stops where their number is not width * height * channels.
  public init(
    width: Int, height: Int, colourModel: ColourModel, hasAlpha: Bool = false, samples: Samples,
    iccProfile: [UInt8]? = nil, exif: [UInt8]? = nil
  ) {
    self.width = width
    self.height = height
    self.colourModel = colourModel
    self.hasAlpha = hasAlpha
    self.samples = samples
    self.iccProfile = iccProfile
    self.exif = exif
    sourceDepth = samples.depth
    let expected = width * height * (colourModel.rawValue + (hasAlpha ? 1 : 0))
    precondition(
      width > 0 && height > 0 && samples.count == expected,
      "ImageBuffer: \(samples.count) samples for \(width) x \(height), expected \(expected)")
  }

  /// The number of channels, alpha included.
  public var channels: Int { colourModel.rawValue + (hasAlpha ? 1 : 0) }
  /// The number of channels without alpha.
  public var colourChannels: Int { colourModel.rawValue }
  /// Bits of a sample in memory: 8 or 16.
  public var depth: Int { samples.depth }

  /// The picture rotated and mirrored as EXIF's orientation 1...8 asks; any other value leaves it as it is.
  public func oriented(_ orientation: Int) -> ImageBuffer {
    guard (2...8).contains(orientation) else { return self }
    let turned = orientation >= 5
    let permuted: Samples =
      switch samples {
      case .eight(let values): .eight(orient(values, orientation))
      case .sixteen(let values): .sixteen(orient(values, orientation))
      }
    var result = ImageBuffer(
      width: turned ? height : width, height: turned ? width : height, colourModel: colourModel,
      hasAlpha: hasAlpha, samples: permuted, iccProfile: iccProfile, exif: exif)
    result.sourceFormat = sourceFormat
    result.sourceDepth = sourceDepth
    result.notes = notes
    return result
  }

  private func orient<Sample: FixedWidthInteger>(_ values: [Sample], _ orientation: Int) -> [Sample] {
    let (w, h, c) = (width, height, channels)
    let turned = orientation >= 5
    let (newWidth, newHeight) = turned ? (h, w) : (w, h)
    return [Sample](unsafeUninitializedCapacity: values.count) { target, count in
      values.withUnsafeBufferPointer { source in
        var out = 0
        for y in 0..<newHeight {
          // The stored position of the shown pixel (x, y) is start + x * step.
          let (start, step): (Int, Int) =
            switch orientation {
            case 2: (y * w + w - 1, -1)
            case 3: ((h - 1 - y) * w + w - 1, -1)
            case 4: ((h - 1 - y) * w, 1)
            case 5: (y, w)
            case 6: ((h - 1) * w + y, -w)
            case 7: ((h - 1) * w + w - 1 - y, -w)
            default: (w - 1 - y, w)
            }
          for x in 0..<newWidth {
            let from = (start + x * step) * c
            for k in 0..<c { target[out + k] = source[from + k] }
            out += c
          }
        }
      }
      count = values.count
    }
  }
}

extension ImageBuffer.Samples {
  /// The number of samples.
  public var count: Int {
    switch self {
    case .eight(let values): values.count
    case .sixteen(let values): values.count
    }
  }
  /// Bits of a sample: 8 or 16.
  public var depth: Int {
    switch self {
    case .eight: 8
    case .sixteen: 16
    }
  }
  /// Runs `body` on the samples' memory.
  func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
    switch self {
    case .eight(let values): try values.withUnsafeBytes(body)
    case .sixteen(let values): try values.withUnsafeBytes(body)
    }
  }
}
