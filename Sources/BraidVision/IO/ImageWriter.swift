import BraidFiles
import CBraidImage

/// Writes pictures as PNG, JPEG or NPY; a file appears whole or not at all.
public enum ImageWriter {
  /// How files are encoded.
  public struct Options: Sendable, Equatable {
    /// JPEG's quality, 1...100. From 90 on colour is kept at full resolution (4:4:4).
    public var jpegQuality = 95
    /// zlib's effort for PNG, 0...9. Level 4 takes less than half the time of 6 and files grow by 7 % at most.
    public var pngLevel = 4
    /// Leaves the colour profile and EXIF out.
    public var stripMetadata = false

    public init(jpegQuality: Int = 95, pngLevel: Int = 4, stripMetadata: Bool = false) {
      self.jpegQuality = jpegQuality
      self.pngLevel = pngLevel
      self.stripMetadata = stripMetadata
    }
  }

  /// Writes `image` to `path` in `format` (by default what the extension names); throws `ImageError`.
  ///
  /// What the format cannot hold (alpha or 16 bits in JPEG) is converted, and said in the notes that come back.
  @discardableResult
  public static func write(
    _ image: ImageBuffer, to path: String, format: ImageFormat? = nil, options: Options = Options()
  ) throws -> [String] {
    guard let format = format ?? ImageFormat(path: path) else {
      throw ImageError.cannotCreate(
        path: path, reason: "the extension names no format; use .png, .jpg or .npy")
    }
    // Opened before the encoding, which may take a while, so that a bad path is told at once.
    let file = try AtomicFile(path) { ImageError($0) }
    var notes: [String] = []
    switch format {
    case .npy:
      try NPY.write(
        image.floats(), shape: [image.height, image.width, image.channels], to: file)
    default:
      let bytes: [UInt8]
      (bytes, notes) = try encode(image, as: format, options: options, path: path)
      try bytes.withUnsafeBytes { try file.write($0) }
    }
    try file.commit()
    return notes
  }

  /// The bytes of `image` as a PNG or JPEG file, and notes on what the format could not hold.
  public static func encode(
    _ image: ImageBuffer, as format: ImageFormat, options: Options = Options(), path: String = "<bytes>"
  ) throws -> (bytes: [UInt8], notes: [String]) {
    try encode(image, as: format, options: options, fullColour: options.jpegQuality >= 90, path: path)
  }

  static func encode(
    _ image: ImageBuffer, as format: ImageFormat, options: Options, fullColour: Bool, path: String = "<bytes>"
  ) throws -> (bytes: [UInt8], notes: [String]) {
    var image = image
    var notes: [String] = []
    if options.stripMetadata { (image.iccProfile, image.exif) = (nil, nil) }
    if let bytes = image.exif, var exif = Exif(bytes) {
      exif.setSize(width: image.width, height: image.height)
      image.exif = exif.bytes
    }
    switch format {
    case .png: break
    case .jpeg:
      if image.hasAlpha { notes.append("JPEG holds no transparency: shown on white") }
      if image.depth == 16 { notes.append("JPEG holds 8 bits: reduced from 16") }
      image = image.opaqueEightBit()
      if let exif = image.exif, exif.count > 65527 {
        image.exif = nil
        notes.append("the EXIF block is too large for JPEG and was left out")
      }
    default:
      throw ImageError.unsupported(
        path: path, reason: "\(format.name) is read but not written; use PNG or JPEG")
    }
    if let profile = image.iccProfile, !isProfile(profile, for: image.colourModel) {
      image.iccProfile = nil
      notes.append(
        "the colour profile does not fit \(image.colourModel == .grey ? "grey" : "RGB") and was left out")
    }
    return (try encodeSamples(image, as: format, options, fullColour, path), notes)
  }

  /// Whether `profile` has a sound header and speaks of samples of this kind (ICC.1:2010, 7.2).
  private static func isProfile(_ profile: [UInt8], for model: ImageBuffer.ColourModel) -> Bool {
    guard profile.count >= 132 else { return false }
    let size = profile[..<4].reduce(0) { $0 << 8 | Int($1) }
    return size == profile.count && profile[36..<40].elementsEqual("acsp".utf8)
      && profile[16..<20].elementsEqual(model == .grey ? "GRAY".utf8 : "RGB ".utf8)
  }

  private static func encodeSamples(
    _ image: ImageBuffer, as format: ImageFormat, _ options: Options, _ fullColour: Bool, _ path: String
  ) throws -> [UInt8] {
    var info = braid_image_info()
    guard image.width <= Int32.max, image.height <= Int32.max else {
      throw ImageError.cannotWrite(path: path, reason: "\(image.width) x \(image.height) pixels")
    }
    info.width = UInt32(image.width)
    info.height = UInt32(image.height)
    info.channels = Int32(image.channels)
    info.sample_bytes = Int32(image.depth / 8)
    var output = braid_blob()
    defer { braid_blob_free(&output) }
    var message = [CChar](repeating: 0, count: Int(BRAID_IMAGE_MESSAGE))
    var icc = image.iccProfile ?? []
    var exif = image.exif ?? []
    let status = icc.withUnsafeMutableBufferPointer { icc in
      exif.withUnsafeMutableBufferPointer { exif in
        image.samples.withUnsafeBytes { samples in
          var metadata = braid_image_metadata(
            icc: braid_blob(bytes: icc.baseAddress, count: icc.count),
            exif: braid_blob(bytes: exif.baseAddress, count: exif.count))
          return format == .png
            ? braid_png_write(
              samples.baseAddress, &info, &metadata, Int32(min(max(options.pngLevel, 0), 9)), &output,
              &message)
            : braid_jpeg_write(
              samples.baseAddress, &info, &metadata, Int32(min(max(options.jpegQuality, 1), 100)),
              fullColour ? 1 : 0, &output, &message)
        }
      }
    }
    guard status == BRAID_IMAGE_OK, let bytes = output.bytes else {
      let text = String(decoding: message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      throw ImageError.cannotWrite(path: path, reason: "\(format.name): \(text)")
    }
    return Array(UnsafeBufferPointer(start: bytes, count: output.count))
  }
}
