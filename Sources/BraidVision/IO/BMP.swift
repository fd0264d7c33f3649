/// Reads Windows bitmaps: 1, 4, 8 bits with palette (also RLE4 and RLE8), 16, 24 and 32 bits with or without masks.
enum BMP {
  struct Header {
    var width = 0, height = 0
    var bottomUp = true
    var bits = 0
    var compression = 0
    var palette: [(UInt8, UInt8, UInt8)] = []
    var masks: (red: UInt32, green: UInt32, blue: UInt32, alpha: UInt32) = (0, 0, 0, 0)
    var pixelOffset = 0

    /// Bytes of a stored row, padded to four.
    var stride: Int { (width * bits + 31) / 32 * 4 }
    var isGrey: Bool { !palette.isEmpty && palette.allSatisfy { $0.0 == $0.1 && $0.1 == $0.2 } }
    var hasAlpha: Bool { masks.alpha != 0 }
    var channels: Int { isGrey ? 1 : hasAlpha ? 4 : 3 }
  }

  private static let plain = 0, rle8 = 1, rle4 = 2, bitFields = 3, alphaBitFields = 6

  /// The header of a bitmap; throws `ImageError` where it is damaged or of a kind that is not read.
  static func header(_ bytes: UnsafeRawBufferPointer, path: String) throws -> Header {
    func read16(_ offset: Int) -> Int { Int(bytes[offset]) | Int(bytes[offset + 1]) << 8 }
    func read32(_ offset: Int) -> UInt32 { UInt32(read16(offset)) | UInt32(read16(offset + 2)) << 16 }
    guard bytes.count >= 26 else { throw ImageError.truncated(path: path, reason: "no complete BMP header") }
    var header = Header()
    let infoSize = Int(read32(14))
    header.pixelOffset = Int(read32(10))
    guard infoSize == 12 || infoSize >= 40, infoSize <= 1024 else {
      throw ImageError.unsupported(path: path, reason: "a BMP header of \(infoSize) bytes")
    }
    guard bytes.count >= 14 + infoSize else {
      throw ImageError.truncated(path: path, reason: "no complete BMP header")
    }
    let old = infoSize == 12
    let rawHeight = old ? Int(read16(20)) : Int(Int32(bitPattern: read32(22)))
    header.width = old ? read16(18) : Int(Int32(bitPattern: read32(18)))
    header.height = abs(rawHeight)
    header.bottomUp = rawHeight > 0
    header.bits = read16(old ? 24 : 28)
    header.compression = old ? plain : Int(read32(30))
    guard header.width > 0, header.height > 0 else {
      throw ImageError.corrupt(path: path, reason: "a BMP of \(header.width) x \(rawHeight) pixels")
    }
    let supported: [Int: [Int]] = [
      plain: [1, 4, 8, 16, 24, 32], rle8: [8], rle4: [4], bitFields: [16, 32], alphaBitFields: [16, 32],
    ]
    guard let depths = supported[header.compression], depths.contains(header.bits) else {
      throw ImageError.unsupported(
        path: path, reason: "a BMP of \(header.bits) bits, compression \(header.compression)")
    }
    var next = 14 + infoSize
    if header.bits == 16 { header.masks = (0x7C00, 0x03E0, 0x001F, 0) }
    if header.bits == 32 { header.masks = (0xFF0000, 0xFF00, 0xFF, 0) }
    if header.compression == bitFields || header.compression == alphaBitFields {
      let count = header.compression == alphaBitFields || infoSize >= 56 ? 4 : 3
      guard bytes.count >= 54 + 4 * count else {
        throw ImageError.truncated(path: path, reason: "no complete BMP masks")
      }
      header.masks = (read32(54), read32(58), read32(62), count == 4 ? read32(66) : 0)
      if infoSize == 40 { next += 4 * count }
    }
    if header.bits <= 8 {
      let entry = old ? 3 : 4
      let stated = old ? 0 : Int(read32(46))
      let count = stated == 0 ? 1 << header.bits : min(stated, 1 << header.bits)
      guard bytes.count >= next + entry * count else {
        throw ImageError.truncated(path: path, reason: "no complete BMP palette")
      }
      header.palette = (0..<count).map { i in
        let at = next + entry * i
        return (bytes[at + 2], bytes[at + 1], bytes[at])
      }
    }
    guard header.pixelOffset >= 14 + infoSize, header.pixelOffset <= bytes.count else {
      throw ImageError.truncated(
        path: path, reason: "the pixels begin at \(header.pixelOffset), past the end")
    }
    if header.compression != rle8 && header.compression != rle4 {
      let available = bytes.count - header.pixelOffset
      guard header.stride <= available / header.height else {
        throw ImageError.truncated(
          path: path,
          reason: "\(header.width) x \(header.height) pixels need \(header.stride) bytes a row, "
            + "the file has \(available) in all")
      }
    }
    return header
  }

  /// The picture's samples (see `Header.channels`), rows from the top.
  static func samples(_ bytes: UnsafeRawBufferPointer, _ header: Header, path: String) throws -> [UInt8] {
    if header.compression == rle8 || header.compression == rle4 {
      return try colours(unpack(bytes, header, path: path), header, path: path)
    }
    if header.bits <= 8 {
      var indices = [UInt8](repeating: 0, count: header.width * header.height)
      let perByte = 8 / header.bits
      let mask = UInt8((1 << header.bits) - 1)
      for y in 0..<header.height {
        let row = rowStart(header, y)
        for x in 0..<header.width {
          let shift = 8 - header.bits * (x % perByte + 1)
          indices[y * header.width + x] = bytes[row + x / perByte] >> UInt8(shift) & mask
        }
      }
      return try colours(indices, header, path: path)
    }
    return direct(bytes, header)
  }

  private static func rowStart(_ header: Header, _ y: Int) -> Int {
    header.pixelOffset + (header.bottomUp ? header.height - 1 - y : y) * header.stride
  }

  private static func colours(_ indices: [UInt8], _ header: Header, path: String) throws -> [UInt8] {
    if let wrong = indices.first(where: { Int($0) >= header.palette.count }) {
      throw ImageError.corrupt(
        path: path, reason: "palette entry \(wrong) where the palette has \(header.palette.count)")
    }
    if header.isGrey { return indices.map { header.palette[Int($0)].0 } }
    var result = [UInt8]()
    result.reserveCapacity(indices.count * 3)
    for index in indices {
      let (red, green, blue) = header.palette[Int(index)]
      result.append(red)
      result.append(green)
      result.append(blue)
    }
    return result
  }

  private static func direct(_ bytes: UnsafeRawBufferPointer, _ header: Header) -> [UInt8] {
    let channels = header.channels
    let step = header.bits / 8
    let scales = [header.masks.red, header.masks.green, header.masks.blue, header.masks.alpha].map {
      (mask: $0, shift: UInt32($0.trailingZeroBitCount), top: $0 == 0 ? 1 : $0 >> $0.trailingZeroBitCount)
    }
    var result = [UInt8](repeating: 0, count: header.width * header.height * channels)
    for y in 0..<header.height {
      var from = rowStart(header, y)
      var to = y * header.width * channels
      for _ in 0..<header.width {
        if step == 3 {
          (result[to], result[to + 1], result[to + 2]) = (bytes[from + 2], bytes[from + 1], bytes[from])
        } else {
          var value: UInt32 = 0
          for i in 0..<step { value |= UInt32(bytes[from + i]) << UInt32(8 * i) }
          for c in 0..<channels where scales[c].mask != 0 {
            let part = UInt64((value & scales[c].mask) >> scales[c].shift)
            result[to + c] = UInt8(
              truncatingIfNeeded: (part * 255 + UInt64(scales[c].top / 2)) / UInt64(scales[c].top))
          }
        }
        from += step
        to += channels
      }
    }
    return result
  }

  /// Palette indices of an RLE bitmap. Pixels that the stream skips are entry 0, as in other readers.
  private static func unpack(
    _ bytes: UnsafeRawBufferPointer, _ header: Header, path: String
  ) throws -> [UInt8] {
    let (width, height) = (header.width, header.height)
    // Two bytes stand for at most 255 pixels, or skip rows; a larger promise cannot be meant.
    guard width * height / 255 <= 4 * bytes.count + height * 4 + 1024 else {
      throw ImageError.truncated(path: path, reason: "\(width) x \(height) pixels in \(bytes.count) bytes")
    }
    var indices = [UInt8](repeating: 0, count: width * height)
    var (x, y, at) = (0, 0, header.pixelOffset)
    func next() throws -> Int {
      guard at < bytes.count else {
        throw ImageError.truncated(path: path, reason: "the RLE stream ends early")
      }
      at += 1
      return Int(bytes[at - 1])
    }
    func put(_ index: Int) {
      if x < width && y < height {
        indices[(header.bottomUp ? height - 1 - y : y) * width + x] = UInt8(truncatingIfNeeded: index)
      }
      x += 1
    }
    let nibbles = header.compression == rle4
    while true {
      let (count, value) = (try next(), try next())
      if count > 0 {
        for i in 0..<count { put(nibbles ? (i % 2 == 0 ? value >> 4 : value & 15) : value) }
      } else if value == 0 {
        (x, y) = (0, y + 1)
      } else if value == 1 {
        return indices
      } else if value == 2 {
        x += try next()
        y += try next()
      } else {
        let length = nibbles ? (value + 1) / 2 : value
        for i in 0..<length {
          let byte = try next()
          if nibbles {
            put(byte >> 4)
            if 2 * i + 1 < value { put(byte & 15) }
          } else {
            put(byte)
          }
        }
        if length % 2 == 1 { _ = try next() }
      }
      if y > height { throw ImageError.corrupt(path: path, reason: "the RLE stream runs past the last row") }
    }
  }
}
