/// Damages files in the ways that matter to parsers, reproducibly.
struct Mutator {
  private var state: UInt64

  init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 1 }

  /// SplitMix64.
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }

  mutating func below(_ limit: Int) -> Int { limit <= 0 ? 0 : Int(next() % UInt64(limit)) }

  /// Mostly near the start or the end, where headers and directories stand.
  private mutating func place(_ count: Int) -> Int {
    switch below(4) {
    case 0: below(min(count, 128))
    case 1: below(min(count, 2048))
    case 2: count - 1 - below(min(count, 1024))
    default: below(count)
    }
  }

  private static let opcodes = Array("().0123FIJKLMNPQRSTUVXabcdegijlopqrstu}]".utf8) + Array(0x80...0x98)
  private static let numbers: [UInt64] = [
    0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x1_0000_0000,
    0x7FFF_FFFF_FFFF_FFFF, 0x8000_0000_0000_0000, 0xFFFF_FFFF_FFFF_FFFF, 1 << 40, 1 << 62,
  ]
  private static let texts = [
    "[", "{", "\"", "}", "]", ",", "0", "-1", "1e9", "99999999999999999999", "9223372036854775807", "null",
    "../", "F64", "BOOL", "cposix\nsystem\n", "q\u{0}", "h\u{0}", "\\u0000", "\\ud800",
  ]

  /// A damaged copy of `bytes`; `other` lends pieces.
  mutating func mutated(_ bytes: [UInt8], other: [UInt8]) -> [UInt8] {
    var result = bytes
    // Half of the files get one change of a few bytes in place: those pass the first checks and reach the deep ones.
    let isGentle = below(2) == 0
    for _ in 0...(isGentle ? 0 : below(4)) where !result.isEmpty {
      let at = place(result.count)
      switch isGentle ? 1 + below(4) : below(11) {
      case 0: result.removeSubrange(at...)
      case 1: result[at] ^= 1 << UInt8(below(8))
      case 2: result[at] = UInt8(truncatingIfNeeded: next())
      case 3: result[at] = Self.opcodes[below(Self.opcodes.count)]
      case 4, 5:
        let width = [1, 2, 4, 8][below(4)]
        let number =
          below(4) == 0 ? UInt64(result.count) &+ next() % 64 &- 32 : Self.numbers[below(Self.numbers.count)]
        for i in 0..<min(width, result.count - at) {
          result[at + i] = UInt8(truncatingIfNeeded: number >> UInt64(8 * i))
        }
      case 6: result.removeSubrange(at..<min(result.count, at + 1 + below(32)))
      case 7:
        let piece = Array(result[at..<min(result.count, at + 1 + below(64))])
        for _ in 0...below(8) { result.insert(contentsOf: piece, at: at) }
      case 8:
        guard !other.isEmpty else { break }
        let from = place(other.count)
        result.insert(contentsOf: other[from..<min(other.count, from + 1 + below(256))], at: at)
      case 9: result.insert(contentsOf: Array(Self.texts[below(Self.texts.count)].utf8), at: at)
      default:
        let text = Array(Self.texts[below(Self.texts.count)].utf8)
        for (i, byte) in text.enumerated() where at + i < result.count { result[at + i] = byte }
      }
    }
    return result
  }
}
