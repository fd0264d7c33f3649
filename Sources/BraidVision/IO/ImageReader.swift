import BraidFiles
import BraidTensor
import CBraidImage
import Glibc

/// Reads pictures: PNG, JPEG, BMP, WebP and TIFF, told apart by their content.
public enum ImageReader {
  /// The picture in the file at `path`, upright; throws `ImageError`.
  ///
  /// An extension that names another format than the content is said in the picture's `notes`.
  public static func read(_ path: String, limits: ImageLimits = ImageLimits()) throws -> ImageBuffer {
    let bytes = try fileBytes(path, limits: limits)
    var image = try bytes.withUnsafeBytes { try read(bytes: $0, path: path, limits: limits) }
    if let format = image.sourceFormat, let named = ImageFormat(path: path), named != format {
      image.notes.append(
        "the extension is .\(ImageFormat.pathExtension(path)) but the content is \(format.name)")
    }
    return image
  }

  /// The picture that `bytes` hold, upright; throws `ImageError` with `path` in it.
  public static func read(
    bytes: UnsafeRawBufferPointer, path: String = "<bytes>", limits: ImageLimits = ImageLimits()
  ) throws -> ImageBuffer {
    switch ImageFormat(magic: bytes) {
    case .png: try decode(bytes, .png, braid_png_read, path, limits)
    case .jpeg: try decode(bytes, .jpeg, braid_jpeg_read, path, limits)
    case .webp: try decode(bytes, .webp, braid_webp_read, path, limits)
    case .tiff: try decode(bytes, .tiff, braid_tiff_read, path, limits)
    case .bmp: try readBMP(bytes, path, limits)
    case .npy:
      throw ImageError.unsupported(
        path: path, reason: "NPY holds arrays and is only written, not read as a picture")
    case nil:
      throw ImageError.unsupported(
        path: path,
        reason: bytes.isEmpty
          ? "the file is empty" : "the content is not PNG, JPEG, BMP, WebP or TIFF")
    }
  }

  /// The picture that `bytes` hold, upright; throws `ImageError` with `path` in it.
  public static func read(
    bytes: [UInt8], path: String = "<bytes>", limits: ImageLimits = ImageLimits()
  ) throws -> ImageBuffer {
    try bytes.withUnsafeBytes { try read(bytes: $0, path: path, limits: limits) }
  }

  /// The format of the file at `path` by its first bytes; nil where it is none that is known or cannot be read.
  public static func format(ofFile path: String) -> ImageFormat? {
    let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var start = [UInt8](repeating: 0, count: 16)
    let count = start.withUnsafeMutableBytes { Glibc.read(file, $0.baseAddress, $0.count) }
    guard count > 0 else { return nil }
    return start.withUnsafeBytes { ImageFormat(magic: UnsafeRawBufferPointer(rebasing: $0[..<count])) }
  }

  private typealias Decoder = (
    UnsafePointer<UInt8>?, Int, UnsafeMutablePointer<braid_image_info>?, UnsafeMutableRawPointer?, Int,
    UnsafeMutablePointer<braid_image_metadata>?, UnsafeMutablePointer<CChar>?
  ) -> braid_image_status

  private static func decode(
    _ bytes: UnsafeRawBufferPointer, _ format: ImageFormat, _ decoder: Decoder, _ path: String,
    _ limits: ImageLimits
  ) throws -> ImageBuffer {
    let start = bytes.bindMemory(to: UInt8.self).baseAddress
    var info = braid_image_info()
    var message = [CChar](repeating: 0, count: Int(BRAID_IMAGE_MESSAGE))
    let header = decoder(start, bytes.count, &info, nil, 0, nil, &message)
    try check(header, message, info, format, path)
    let (width, height, channels) = (Int(info.width), Int(info.height), Int(info.channels))
    guard width > 0, height > 0 else {
      throw ImageError.corrupt(path: path, reason: "\(width) x \(height) pixels")
    }
    try limits.check(
      width: width, height: height, bytesPerPixel: channels * Int(info.sample_bytes), path: path)

    try preflight(
      width * height * channels * Int(info.sample_bytes), "a picture of \(width) x \(height) pixels", path)
    var metadata = braid_image_metadata()
    defer { braid_image_metadata_free(&metadata) }
    let count = width * height * channels
    func fill<Sample>(_ buffer: inout UnsafeMutableBufferPointer<Sample>, _ filled: inout Int) throws {
      let size = count * MemoryLayout<Sample>.stride
      let status = decoder(start, bytes.count, &info, buffer.baseAddress, size, &metadata, &message)
      try check(status, message, info, format, path)
      filled = count
    }
    let samples: ImageBuffer.Samples =
      info.sample_bytes == 2
      ? .sixteen(try [UInt16](unsafeUninitializedCapacity: count) { try fill(&$0, &$1) })
      : .eight(try [UInt8](unsafeUninitializedCapacity: count) { try fill(&$0, &$1) })
    var image = ImageBuffer(
      width: width, height: height, colourModel: channels >= 3 ? .rgb : .grey, hasAlpha: channels % 2 == 0,
      samples: samples, iccProfile: array(metadata.icc), exif: array(metadata.exif))
    image.sourceFormat = format
    image.sourceDepth = Int(info.source_depth)
    image.notes = notes(info.flags, format)
    return upright(image, containerOrientation: Int(info.orientation))
  }

  /// Throws where `byteCount` bytes for `purpose` cannot be had.
  private static func preflight(_ byteCount: Int, _ purpose: String, _ path: String) throws {
    do {
      try Memory.preflight(byteCount: byteCount)
    } catch {
      throw ImageError.outOfMemory(path: path, reason: "\(byteCount) bytes for \(purpose)")
    }
  }

  private static func check(
    _ status: braid_image_status, _ message: [CChar], _ info: braid_image_info, _ format: ImageFormat,
    _ path: String
  ) throws {
    if status == BRAID_IMAGE_OK { return }
    let text = String(
      decoding: message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let reason = "\(format.name): \(text)"
    switch status {
    case BRAID_IMAGE_TRUNCATED: throw ImageError.truncated(path: path, reason: reason)
    case BRAID_IMAGE_UNSUPPORTED: throw ImageError.unsupported(path: path, reason: reason)
    case BRAID_IMAGE_OUT_OF_MEMORY:
      throw ImageError.outOfMemory(path: path, reason: reason)
    default: throw ImageError.corrupt(path: path, reason: reason)
    }
  }

  private static func array(_ blob: braid_blob) -> [UInt8]? {
    blob.bytes.map { Array(UnsafeBufferPointer(start: $0, count: blob.count)) }
  }

  private static func notes(_ flags: UInt32, _ format: ImageFormat) -> [String] {
    var notes: [String] = []
    if flags & UInt32(BRAID_IMAGE_CMYK) != 0 {
      notes.append("CMYK converted to RGB without its colour profile")
    }
    if flags & UInt32(BRAID_IMAGE_FLOAT) != 0 {
      notes.append("float samples clamped to 0...1 and kept at 16 bits")
    }
    if flags & UInt32(BRAID_IMAGE_EXTRANEOUS) != 0 {
      notes.append("the \(format.name) has stray bytes, skipped")
    }
    if flags & UInt32(BRAID_IMAGE_MORE_PAGES) != 0 { notes.append("only the first of several pages is read") }
    return notes
  }

  /// Applies the orientation that EXIF or the container states, and resets it in EXIF.
  private static func upright(_ image: ImageBuffer, containerOrientation: Int) -> ImageBuffer {
    var orientation = containerOrientation
    var image = image
    if let bytes = image.exif {
      if var exif = Exif(bytes) {
        if exif.orientation != 1 {
          if orientation == 1 { orientation = exif.orientation }
          exif.resetOrientation()
          image.exif = exif.bytes
        }
      } else {
        image.exif = nil
        image.notes.append("a damaged EXIF block was dropped")
      }
    }
    return image.oriented(orientation)
  }

  private static func readBMP(
    _ bytes: UnsafeRawBufferPointer, _ path: String, _ limits: ImageLimits
  ) throws -> ImageBuffer {
    let header = try BMP.header(bytes, path: path)
    try limits.check(width: header.width, height: header.height, bytesPerPixel: header.channels, path: path)
    try preflight(
      header.width * header.height * header.channels,
      "a picture of \(header.width) x \(header.height) pixels", path)
    let samples = try BMP.samples(bytes, header, path: path)
    var image = ImageBuffer(
      width: header.width, height: header.height, colourModel: header.isGrey ? .grey : .rgb,
      hasAlpha: header.channels == 4, samples: .eight(samples))
    image.sourceFormat = .bmp
    image.sourceDepth = header.bits == 16 ? 5 : min(header.bits, 8)
    return image
  }

  /// The bytes of a file. What does not begin like a picture is refused before the rest is read.
  private static func fileBytes(_ path: String, limits: ImageLimits) throws -> [UInt8] {
    // Non-blocking, so that a pipe to which nobody writes reads as empty instead of hanging a batch.
    let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard file >= 0 else {
      let code = errno
      if code == ENOENT || code == ENOTDIR { throw ImageError.notFound(path: path) }
      throw ImageError.unreadable(path: path, reason: systemMessage(code))
    }
    defer { close(file) }
    _ = fcntl(file, F_SETFL, 0)
    var status = stat()
    guard fstat(file, &status) == 0 else {
      throw ImageError.unreadable(path: path, reason: systemMessage(errno))
    }
    if status.st_mode & S_IFMT == S_IFDIR {
      throw ImageError.unreadable(path: path, reason: "it is a folder")
    }
    var bytes: [UInt8] = []
    // The content, and the piece that is being read.
    try preflight(2 * max(0, min(Int(status.st_size), limits.maximumFileBytes)), "the file", path)
    var expected = min(Int(status.st_size), limits.maximumFileBytes) + 1
    while true {
      let wanted = bytes.count < 64 ? 64 : max(expected - bytes.count, 1 << 20)
      let start = bytes.count
      bytes.reserveCapacity(start + wanted)
      let chunk = try [UInt8](unsafeUninitializedCapacity: wanted) { buffer, count in
        count = Glibc.read(file, buffer.baseAddress, wanted)
        if count < 0 {
          let code = errno
          count = 0
          if code != EINTR { throw ImageError.unreadable(path: path, reason: systemMessage(code)) }
        } else if count == 0 {
          expected = -1
        }
      }
      bytes.append(contentsOf: chunk)
      if expected < 0 { return bytes }
      if bytes.count >= 16, bytes.withUnsafeBytes({ ImageFormat(magic: $0) }) == nil { return bytes }
      if bytes.count > limits.maximumFileBytes {
        throw ImageError.unreadable(path: path, reason: "more than \(limits.maximumFileBytes >> 20) MiB")
      }
    }
  }
}
