/// A file format of pictures that Braid reads or writes.
public enum ImageFormat: String, Sendable, CaseIterable, Codable {
  case png, jpeg, bmp, webp, tiff, npy

  /// The format that `bytes` begin as, or nil where they begin as none of them.
  public init?(magic bytes: UnsafeRawBufferPointer) {
    func begins(_ prefix: [UInt8], at offset: Int = 0) -> Bool {
      bytes.count >= offset + prefix.count && prefix.indices.allSatisfy { bytes[offset + $0] == prefix[$0] }
    }
    if begins([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) {
      self = .png
    } else if begins([0xFF, 0xD8, 0xFF]) {
      self = .jpeg
    } else if begins(Array("RIFF".utf8)) && begins(Array("WEBP".utf8), at: 8) {
      self = .webp
    } else if begins([0x49, 0x49, 0x2A, 0]) || begins([0x4D, 0x4D, 0, 0x2A])
      || begins([0x49, 0x49, 0x2B, 0]) || begins([0x4D, 0x4D, 0, 0x2B])
    {
      self = .tiff
    } else if begins([0x93] + Array("NUMPY".utf8)) {
      self = .npy
    } else if begins(Array("BM".utf8)) {
      self = .bmp
    } else {
      return nil
    }
  }

  /// The format that a path's extension names, or nil where it names none of them.
  public init?(path: String) {
    guard let format = ImageFormat.extensions[ImageFormat.pathExtension(path)] else { return nil }
    self = format
  }

  /// The lower-case extension of a path, without its dot; empty where it has none.
  static func pathExtension(_ path: String) -> String {
    let name = path.split(separator: "/").last ?? ""
    guard let dot = name.lastIndex(of: "."), dot != name.startIndex else { return "" }
    return name[name.index(after: dot)...].lowercased()
  }

  /// The formats by their usual extensions.
  public static let extensions: [String: ImageFormat] = [
    "png": .png, "jpg": .jpeg, "jpeg": .jpeg, "jpe": .jpeg, "jfif": .jpeg, "bmp": .bmp, "dib": .bmp,
    "webp": .webp, "tif": .tiff, "tiff": .tiff, "npy": .npy,
  ]

  /// The name that people use.
  public var name: String {
    switch self {
    case .png: "PNG"
    case .jpeg: "JPEG"
    case .bmp: "BMP"
    case .webp: "WebP"
    case .tiff: "TIFF"
    case .npy: "NPY"
    }
  }
}
