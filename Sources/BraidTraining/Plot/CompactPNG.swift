/// A PNG encoder for drawings: 8-bit RGB, rows as differences to the row above, runs coded as deflate matches.
///
/// It needs no library, so that whatever trains links none of the picture libraries; flat areas shrink well.
enum CompactPNG {
  /// The bytes of a PNG file of `rgb`, rows from the top, three bytes a pixel.
  static func encode(_ rgb: [UInt8], width: Int, height: Int) -> [UInt8] {
    precondition(rgb.count == width * height * 3, "CompactPNG: \(rgb.count) bytes for \(width) x \(height)")
    let stride = width * 3
    var filtered: [UInt8] = []
    filtered.reserveCapacity((stride + 1) * height)
    for y in 0..<height {
      filtered.append(2)
      for i in y * stride..<(y + 1) * stride {
        filtered.append(y == 0 ? rgb[i] : rgb[i] &- rgb[i - stride])
      }
    }
    var file: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
    append("IHDR", bytes(UInt32(width)) + bytes(UInt32(height)) + [8, 2, 0, 0, 0], to: &file)
    append("IDAT", [0x78, 0x01] + deflate(filtered) + bytes(adler(filtered)), to: &file)
    append("IEND", [], to: &file)
    return file
  }

  private static func bytes(_ value: UInt32) -> [UInt8] {
    [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
  }

  private static func append(_ kind: String, _ content: [UInt8], to file: inout [UInt8]) {
    let body = Array(kind.utf8) + content
    file += bytes(UInt32(content.count)) + body + bytes(crc(body))
  }

  private static let crcTable: [UInt32] = (0..<256).map { index in
    (0..<8).reduce(UInt32(index)) { value, _ in value & 1 == 1 ? 0xEDB8_8320 ^ value >> 1 : value >> 1 }
  }

  private static func crc(_ bytes: [UInt8]) -> UInt32 {
    ~bytes.reduce(0xFFFF_FFFF) { crcTable[Int(($0 ^ UInt32($1)) & 255)] ^ $0 >> 8 }
  }

  private static func adler(_ bytes: [UInt8]) -> UInt32 {
    var (a, b): (UInt32, UInt32) = (1, 0)
    for byte in bytes {
      a = (a + UInt32(byte)) % 65521
      b = (b + a) % 65521
    }
    return b << 16 | a
  }

  /// One deflate block with the fixed codes (RFC 1951, 3.2.6) whose only matches are runs of one byte.
  private static func deflate(_ input: [UInt8]) -> [UInt8] {
    var out: [UInt8] = []
    var (held, count): (UInt32, UInt32) = (0, 0)
    func put(_ value: UInt32, _ bits: UInt32) {
      held |= value << count
      count += bits
      while count >= 8 {
        out.append(UInt8(truncatingIfNeeded: held))
        held >>= 8
        count -= 8
      }
    }
    // Huffman codes go out from their first bit.
    func putCode(_ code: UInt32, _ bits: UInt32) {
      var reversed: UInt32 = 0
      for bit in 0..<bits where code >> bit & 1 == 1 { reversed |= 1 << (bits - 1 - bit) }
      put(reversed, bits)
    }
    func putSymbol(_ symbol: Int) {
      let value = UInt32(symbol)
      switch symbol {
      case ..<144: putCode(0x30 + value, 8)
      case ..<256: putCode(0x190 + value - 144, 9)
      case ..<280: putCode(value - 256, 7)
      default: putCode(0xC0 + value - 280, 8)
      }
    }
    // Length codes 257...285: the first length of each and its extra bits.
    var lengths: [(first: Int, extra: UInt32)] = []
    var first = 3
    for code in 0..<28 {
      let extra = code < 8 ? 0 : (code - 4) / 4
      lengths.append((first, UInt32(extra)))
      first += 1 << extra
    }
    lengths.append((258, 0))
    put(1, 1)
    put(1, 2)
    var at = 0
    while at < input.count {
      var run = 0
      if at > 0 {
        while run < 258 && at + run < input.count && input[at + run] == input[at - 1] { run += 1 }
      }
      if run >= 3 {
        let code = lengths.lastIndex { $0.first <= run }!
        putSymbol(257 + code)
        put(UInt32(run - lengths[code].first), lengths[code].extra)
        putCode(0, 5)
        at += run
      } else {
        putSymbol(Int(input[at]))
        at += 1
      }
    }
    putSymbol(256)
    put(0, 7)
    return out
  }
}
