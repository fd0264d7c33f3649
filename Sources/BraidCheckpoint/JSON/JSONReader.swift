/// A strict JSON reader (RFC 8259) that pulls one value at a time, so that a hostile document costs no more than
/// what is kept of it. Duplicate members, lone surrogates, invalid UTF-8 and deep nesting are errors.
struct JSONReader {
  private let bytes: UnsafeRawBufferPointer
  private let path: String
  /// Where the document starts in its file: errors count from the file's start.
  private let fileOffset: Int
  private(set) var position = 0

  static let maximumDepth = 64

  init(_ bytes: UnsafeRawBufferPointer, path: String, fileOffset: Int = 0) {
    self.bytes = bytes
    self.path = path
    self.fileOffset = fileOffset
  }

  func failure(_ reason: String, at place: Int? = nil) -> CheckpointError {
    .malformed(path: path, offset: fileOffset + (place ?? position), reason: "JSON: \(reason)")
  }

  private mutating func skipSpace() {
    while position < bytes.count {
      switch bytes[position] {
      case 0x20, 0x09, 0x0A, 0x0D: position += 1
      default: return
      }
    }
  }

  /// The next byte that is no space, not consumed.
  mutating func peek() throws -> UInt8 {
    skipSpace()
    guard position < bytes.count else { throw failure("ends too early") }
    return bytes[position]
  }

  private mutating func take(_ character: Unicode.Scalar) throws {
    guard try peek() == UInt8(ascii: character) else { throw failure("expected '\(character)'") }
    position += 1
  }

  /// Consumes the end of the document: nothing but space may follow.
  mutating func end() throws {
    skipSpace()
    guard position == bytes.count else { throw failure("more text after the value") }
  }

  /// Reads an object; `body` is called after each member's name and consumes the value.
  mutating func object(_ body: (inout JSONReader, String) throws -> Void) throws {
    try take("{")
    if try peek() == UInt8(ascii: "}") { position += 1; return }
    var seen = Set<String>()
    while true {
      let place = position
      let name = try string()
      guard seen.insert(name).inserted else {
        throw failure("the key \"\(name.truncated(to: 200))\" stands twice", at: place)
      }
      try take(":")
      try body(&self, name)
      if try peek() == UInt8(ascii: "}") { position += 1; return }
      try take(",")
      guard try peek() == UInt8(ascii: "\"") else { throw failure("expected a key") }
    }
  }

  /// Reads an array; `body` is called before each element and consumes it.
  mutating func array(_ body: (inout JSONReader) throws -> Void) throws {
    try take("[")
    if try peek() == UInt8(ascii: "]") { position += 1; return }
    while true {
      try body(&self)
      if try peek() == UInt8(ascii: "]") { position += 1; return }
      try take(",")
    }
  }

  /// Reads a string.
  mutating func string() throws -> String {
    try take("\"")
    let start = position
    while position < bytes.count {
      switch bytes[position] {
      case UInt8(ascii: "\""):
        defer { position += 1 }
        return try text(bytes[start..<position], at: start)
      case UInt8(ascii: "\\"):
        return try escapedString(from: start)
      case 0..<0x20:
        throw failure("a control character in a string")
      default:
        position += 1
      }
    }
    throw failure("a string without an end", at: start)
  }

  private func text(_ slice: some Collection<UInt8>, at place: Int) throws -> String {
    guard let text = String(validating: slice, as: UTF8.self) else {
      throw failure("a string that is not UTF-8", at: place)
    }
    return text
  }

  private mutating func escapedString(from start: Int) throws -> String {
    var collected = Array(bytes[start..<position])
    while position < bytes.count {
      let byte = bytes[position]
      switch byte {
      case UInt8(ascii: "\""):
        position += 1
        return try text(collected, at: start)
      case UInt8(ascii: "\\"):
        position += 1
        guard position < bytes.count else { throw failure("a string without an end", at: start) }
        let escape = bytes[position]
        position += 1
        switch escape {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): collected.append(escape)
        case UInt8(ascii: "b"): collected.append(0x08)
        case UInt8(ascii: "f"): collected.append(0x0C)
        case UInt8(ascii: "n"): collected.append(0x0A)
        case UInt8(ascii: "r"): collected.append(0x0D)
        case UInt8(ascii: "t"): collected.append(0x09)
        case UInt8(ascii: "u"): collected.append(contentsOf: Array(String(try escapedScalar()).utf8))
        default: throw failure("an unknown escape", at: position - 1)
        }
      case 0..<0x20:
        throw failure("a control character in a string")
      default:
        collected.append(byte)
        position += 1
      }
    }
    throw failure("a string without an end", at: start)
  }

  private mutating func escapedScalar() throws -> Unicode.Scalar {
    let high = try hexQuad()
    if let scalar = Unicode.Scalar(high) { return scalar }
    guard high < 0xDC00, position + 1 < bytes.count, bytes[position] == UInt8(ascii: "\\"),
      bytes[position + 1] == UInt8(ascii: "u")
    else { throw failure("a lone surrogate") }
    position += 2
    let low = try hexQuad()
    guard (0xDC00..<0xE000).contains(low),
      let scalar = Unicode.Scalar(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
    else { throw failure("a lone surrogate") }
    return scalar
  }

  private mutating func hexQuad() throws -> UInt32 {
    guard position + 4 <= bytes.count else { throw failure("an escape without its digits") }
    var value: UInt32 = 0
    for byte in bytes[position..<position + 4] {
      guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else {
        throw failure("an escape without its digits")
      }
      value = value << 4 | UInt32(digit)
    }
    position += 4
    return value
  }

  /// Reads a number: an integer where it is written as one and fits.
  mutating func number() throws -> JSONValue {
    _ = try peek()
    let start = position
    var isInteger = true
    func digits(_ reader: inout JSONReader) -> Int {
      let first = reader.position
      while reader.position < reader.bytes.count, (0x30...0x39).contains(reader.bytes[reader.position]) {
        reader.position += 1
      }
      return reader.position - first
    }
    func at(_ characters: String) -> Bool {
      position < bytes.count && characters.utf8.contains(bytes[position])
    }
    if at("-") { position += 1 }
    let leadingZero = at("0")
    let whole = digits(&self)
    guard whole > 0, !(leadingZero && whole > 1) else { throw failure("not a value", at: start) }
    if at(".") {
      isInteger = false
      position += 1
      guard digits(&self) > 0 else { throw failure("a number without its decimals", at: start) }
    }
    if at("eE") {
      isInteger = false
      position += 1
      if at("+-") { position += 1 }
      guard digits(&self) > 0 else { throw failure("a number without its exponent", at: start) }
    }
    guard position - start <= 400 else { throw failure("a number of \(position - start) digits", at: start) }
    let written = String(decoding: bytes[start..<position], as: UTF8.self)
    if isInteger, let value = Int(written) { return .integer(value) }
    guard let value = Double(written), value.isFinite else {
      throw failure("a number out of range", at: start)
    }
    return .number(value)
  }

  /// Reads an integer from 0 up.
  mutating func count() throws -> Int {
    _ = try peek()
    let start = position
    guard case .integer(let value) = try number(), value >= 0 else {
      throw failure("expected a whole number from 0 up that fits 63 bits", at: start)
    }
    return value
  }

  private mutating func literal(_ word: StaticString, _ value: JSONValue) throws -> JSONValue {
    let expected = UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount)
    guard position + expected.count <= bytes.count,
      bytes[position..<position + expected.count].elementsEqual(expected)
    else { throw failure("not a value") }
    position += expected.count
    return value
  }

  /// Reads any value.
  mutating func value(depth: Int = 0) throws -> JSONValue {
    guard depth < Self.maximumDepth else { throw failure("nested deeper than \(Self.maximumDepth) levels") }
    switch try peek() {
    case UInt8(ascii: "{"):
      var members: [JSONValue.Member] = []
      try object { reader, name in
        members.append(JSONValue.Member(name: name, value: try reader.value(depth: depth + 1)))
      }
      return .object(members)
    case UInt8(ascii: "["):
      var elements: [JSONValue] = []
      try array { reader in elements.append(try reader.value(depth: depth + 1)) }
      return .array(elements)
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try literal("true", .bool(true))
    case UInt8(ascii: "f"): return try literal("false", .bool(false))
    case UInt8(ascii: "n"): return try literal("null", .null)
    default: return try number()
    }
  }

  /// Consumes any value and keeps nothing of it.
  mutating func skip(depth: Int = 0) throws {
    guard depth < Self.maximumDepth else { throw failure("nested deeper than \(Self.maximumDepth) levels") }
    switch try peek() {
    case UInt8(ascii: "{"): try object { reader, _ in try reader.skip(depth: depth + 1) }
    case UInt8(ascii: "["): try array { reader in try reader.skip(depth: depth + 1) }
    default: _ = try value(depth: depth)
    }
  }
}
