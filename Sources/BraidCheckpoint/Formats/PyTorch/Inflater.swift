/// Decodes a raw deflate stream (RFC 1951) into a block of known size; never writes past it, always ends.
struct Inflater {
  private let input: UnsafeRawBufferPointer
  private let output: UnsafeMutableRawBufferPointer
  private var position = 0
  private var written = 0
  private var bitBuffer: UInt64 = 0
  private var bitCount = 0

  init(input: UnsafeRawBufferPointer, output: UnsafeMutableRawBufferPointer) {
    self.input = input
    self.output = output
  }

  /// Whether the stream is valid and fills the output exactly.
  mutating func run() -> Bool {
    while true {
      guard let isLast = bits(1), let kind = bits(2) else { return false }
      let succeeded: Bool
      switch kind {
      case 0: succeeded = stored()
      case 1: succeeded = compressed(Self.fixedLiterals, Self.fixedDistances)
      case 2: succeeded = dynamic()
      default: succeeded = false
      }
      guard succeeded else { return false }
      if isLast == 1 { return written == output.count }
    }
  }

  private mutating func bits(_ count: Int) -> Int? {
    while bitCount < count {
      guard position < input.count else { return nil }
      bitBuffer |= UInt64(input[position]) << UInt64(bitCount)
      position += 1
      bitCount += 8
    }
    let value = Int(bitBuffer & (1 << UInt64(count) - 1))
    bitBuffer >>= UInt64(count)
    bitCount -= count
    return value
  }

  private mutating func stored() -> Bool {
    bitBuffer >>= UInt64(bitCount & 7)
    bitCount -= bitCount & 7
    guard let length = bits(16), let complement = bits(16), length == ~complement & 0xFFFF else {
      return false
    }
    // At most one whole byte can be left in the buffer; give it back.
    position -= bitCount / 8
    bitBuffer = 0
    bitCount = 0
    guard length <= input.count - position, length <= output.count - written else { return false }
    if length > 0 {
      (output.baseAddress! + written).copyMemory(from: input.baseAddress! + position, byteCount: length)
    }
    position += length
    written += length
    return true
  }

  /// A canonical Huffman code: how many codes of each length, and the symbols in order.
  struct Code {
    var counts = [UInt16](repeating: 0, count: 16)
    var symbols: [UInt16]

    /// The code of the given lengths, or nil where more codes are asked for than there are.
    init?(_ lengths: some Collection<UInt8>) {
      symbols = [UInt16](repeating: 0, count: lengths.count)
      for length in lengths { counts[Int(length)] += 1 }
      counts[0] = 0
      var left = 1
      for length in 1...15 {
        left = left << 1 - Int(counts[length])
        if left < 0 { return nil }
      }
      var offsets = [Int](repeating: 0, count: 16)
      for length in 1..<15 { offsets[length + 1] = offsets[length] + Int(counts[length]) }
      for (symbol, length) in lengths.enumerated() where length != 0 {
        symbols[offsets[Int(length)]] = UInt16(symbol)
        offsets[Int(length)] += 1
      }
    }
  }

  private mutating func symbol(_ code: Code) -> Int? {
    var value = 0
    var first = 0
    var index = 0
    for length in 1...15 {
      guard let bit = bits(1) else { return nil }
      value |= bit
      let count = Int(code.counts[length])
      if value - count < first { return Int(code.symbols[index + value - first]) }
      index += count
      first = (first + count) << 1
      value <<= 1
    }
    return nil
  }

  private mutating func compressed(_ literals: Code, _ distances: Code) -> Bool {
    while true {
      guard let value = symbol(literals) else { return false }
      if value < 256 {
        guard written < output.count else { return false }
        output[written] = UInt8(value)
        written += 1
      } else if value == 256 {
        return true
      } else {
        guard value - 257 < Self.lengths.count, let extra = bits(Self.lengths[value - 257].extra),
          let code = symbol(distances), code < Self.distances.count,
          let far = bits(Self.distances[code].extra)
        else { return false }
        let length = Self.lengths[value - 257].base + extra
        let distance = Self.distances[code].base + far
        guard distance <= written, length <= output.count - written else { return false }
        for _ in 0..<length {
          output[written] = output[written - distance]
          written += 1
        }
      }
    }
  }

  private mutating func dynamic() -> Bool {
    guard let literalCount = bits(5), let distanceCount = bits(5), let lengthCount = bits(4),
      literalCount + 257 <= 286, distanceCount + 1 <= 30
    else { return false }
    var lengths = [UInt8](repeating: 0, count: 19)
    for index in 0..<lengthCount + 4 {
      guard let length = bits(3) else { return false }
      lengths[Self.order[index]] = UInt8(length)
    }
    guard let lengthCode = Code(lengths) else { return false }
    let total = literalCount + 257 + distanceCount + 1
    var all: [UInt8] = []
    while all.count < total {
      guard let value = symbol(lengthCode) else { return false }
      if value < 16 {
        all.append(UInt8(value))
        continue
      }
      let (width, base) = value == 16 ? (2, 3) : value == 17 ? (3, 3) : (7, 11)
      guard let extra = bits(width), all.count + base + extra <= total, value != 16 || !all.isEmpty else {
        return false
      }
      all.append(contentsOf: repeatElement(value == 16 ? all.last! : 0, count: base + extra))
    }
    guard all[256] != 0, let literals = Code(all[..<(literalCount + 257)]),
      let distances = Code(all[(literalCount + 257)...])
    else { return false }
    return compressed(literals, distances)
  }

  private static let order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]

  private static let lengths: [(base: Int, extra: Int)] = {
    var result = (0..<8).map { (base: 3 + $0, extra: 0) }
    for extra in 1...5 {
      for step in 0..<4 { result.append((base: 3 + (4 + step) << extra, extra: extra)) }
    }
    result.append((base: 258, extra: 0))
    return result
  }()

  private static let distances: [(base: Int, extra: Int)] = {
    var result = (0..<4).map { (base: 1 + $0, extra: 0) }
    for extra in 1...13 {
      for step in 0..<2 { result.append((base: 1 + (2 + step) << extra, extra: extra)) }
    }
    return result
  }()

  private static let fixedLiterals = Code(
    [UInt8](repeating: 8, count: 144) + [UInt8](repeating: 9, count: 112) + [UInt8](repeating: 7, count: 24)
      + [UInt8](repeating: 8, count: 8))!
  private static let fixedDistances = Code([UInt8](repeating: 5, count: 30))!
}

/// The checksum that zip uses (reflected polynomial 0xEDB88320).
enum CRC32 {
  private static let table: [UInt32] = (0..<256).map { byte in
    (0..<8).reduce(UInt32(byte)) { value, _ in value & 1 == 1 ? value >> 1 ^ 0xEDB8_8320 : value >> 1 }
  }

  static func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
    table.withUnsafeBufferPointer { table in
      var value: UInt32 = 0xFFFF_FFFF
      for byte in bytes { value = value >> 8 ^ table[Int(UInt8(truncatingIfNeeded: value) ^ byte)] }
      return ~value
    }
  }
}
