import BraidCheckpoint
import Foundation

/// The values of a config.json by key, as transformers reads them: a key that is absent or null has its default.
///
/// Errors name the key, its value and what was expected.
struct ConfigurationReader {
  let path: String
  /// Where in the document the members stand: "" or "rope_parameters.".
  let prefix: String
  private let members: [String: JSONValue]

  init(path: String, prefix: String = "", _ value: JSONValue) throws {
    self.path = path
    self.prefix = prefix
    guard case .object(let members) = value else {
      throw LanguageModelError.configuration(
        path: path, key: prefix.isEmpty ? "the document" : String(prefix.dropLast()),
        value: Self.shown(value),
        reason: "expected an object")
    }
    self.members = Dictionary(members.map { ($0.name, $0.value) }, uniquingKeysWith: { first, _ in first })
  }

  /// The configuration in the file at `path`.
  init(contentsOf path: String) throws {
    guard let data = FileManager.default.contents(atPath: path) else {
      throw FileManager.default.fileExists(atPath: path)
        ? LanguageModelError.unreadable(path: path, reason: "permissions, or not a file")
        : LanguageModelError.notFound(path: path)
    }
    guard data.count <= 16 << 20 else {
      throw LanguageModelError.unreadable(path: path, reason: "\(data.count) bytes are no configuration")
    }
    let text = Self.tagged(data)
    try self.init(path: path, JSONValue(parsing: String(decoding: text, as: UTF8.self), source: path))
  }

  /// Python writes infinities and NaN bare, which is no JSON: outside of strings they become tagged objects, as
  /// transformers writes them today.
  private static func tagged(_ data: Data) -> [UInt8] {
    let bytes = [UInt8](data)
    var out: [UInt8] = []
    out.reserveCapacity(bytes.count)
    var index = 0
    var inString = false
    let names = ["-Infinity", "Infinity", "NaN"].map { Array($0.utf8) }
    while index < bytes.count {
      let byte = bytes[index]
      if inString {
        out.append(byte)
        if byte == UInt8(ascii: "\\"), index + 1 < bytes.count {
          index += 1
          out.append(bytes[index])
        } else if byte == UInt8(ascii: "\"") {
          inString = false
        }
        index += 1
        continue
      }
      if let name = names.first(where: { bytes[index...].starts(with: $0) }) {
        out += Array("{\"__float__\": \"".utf8) + name + Array("\"}".utf8)
        index += name.count
        continue
      }
      inString = byte == UInt8(ascii: "\"")
      out.append(byte)
      index += 1
    }
    return out
  }

  // MARK: Values

  /// Sizes whose products can be computed.
  static let sizes = 1...1 << 22

  /// The value of a key, or nil where it is absent or null.
  func value(_ key: String) -> JSONValue? {
    guard let value = members[key], value != .null else { return nil }
    return value
  }

  func has(_ key: String) -> Bool { value(key) != nil }

  /// Whether the key is there, null included.
  func members(_ key: String) -> Bool { members[key] != nil }

  /// The error that a key's value makes no sense.
  func failure(_ key: String, _ reason: String) -> LanguageModelError {
    .configuration(
      path: path, key: prefix + key, value: value(key).map(Self.shown) ?? "absent", reason: reason)
  }

  /// Throws unless the condition holds.
  func require(_ condition: Bool, _ key: String, _ reason: @autoclosure () -> String) throws {
    if !condition { throw failure(key, reason()) }
  }

  /// The whole number under the first of the keys that is there, within bounds that keep sizes computable.
  func integer(_ keys: String..., default fallback: Int, in range: ClosedRange<Int> = sizes) throws -> Int {
    try optionalInteger(keys, in: range) ?? fallback
  }

  func optionalInteger(_ key: String, in range: ClosedRange<Int> = sizes) throws -> Int? {
    try optionalInteger([key], in: range)
  }

  private func optionalInteger(_ keys: [String], in range: ClosedRange<Int>) throws -> Int? {
    for key in keys {
      guard let value = value(key) else { continue }
      var number = value.integerValue
      if number == nil, case .number(let real) = value, real == real.rounded(), abs(real) < 1e15 {
        number = Int(real)
      }
      guard let number, range.contains(number) else {
        throw failure(key, "expected a whole number from \(range.lowerBound) to \(range.upperBound)")
      }
      return number
    }
    return nil
  }

  func float(_ keys: String..., default fallback: Double) throws -> Double {
    for key in keys {
      guard let value = value(key) else { continue }
      guard let number = Self.number(value) else { throw failure(key, "expected a number") }
      return number
    }
    return fallback
  }

  /// A finite number above 0, in float32.
  func epsilon(_ keys: String..., default fallback: Float) throws -> Float {
    for key in keys where has(key) {
      let number = try float(key, default: 0)
      try require(number.isFinite && number > 0 && number < 1, key, "expected a small number above 0")
      return Float(number)
    }
    return fallback
  }

  /// A finite factor.
  func factor(_ key: String, default fallback: Float = 1) throws -> Float {
    let number = try float(key, default: Double(fallback))
    try require(number.isFinite && abs(number) < 1e30, key, "expected a finite number")
    return Float(number)
  }

  func bool(_ keys: String..., default fallback: Bool) throws -> Bool {
    for key in keys {
      guard let value = value(key) else { continue }
      guard case .bool(let flag) = value else { throw failure(key, "expected true or false") }
      return flag
    }
    return fallback
  }

  func string(_ key: String, default fallback: String? = nil) throws -> String {
    guard let value = value(key) else {
      guard let fallback else { throw failure(key, "expected a text") }
      return fallback
    }
    guard let text = value.stringValue else { throw failure(key, "expected a text") }
    return text
  }

  func strings(_ key: String) throws -> [String]? {
    try array(key)?.map {
      guard let text = $0.stringValue else { throw failure(key, "expected a list of texts") }
      return text
    }
  }

  func integers(_ key: String) throws -> [Int]? {
    try array(key)?.map {
      guard let number = $0.integerValue else { throw failure(key, "expected a list of whole numbers") }
      return number
    }
  }

  /// Numbers; infinities are allowed.
  func floats(_ key: String, count: Int) throws -> [Double]? {
    guard let numbers = try array(key)?.map(Self.number) else { return nil }
    guard numbers.count == count, numbers.allSatisfy({ $0 != nil }) else {
      throw failure(key, "expected a list of \(count) numbers")
    }
    return numbers.map { $0! }
  }

  /// A list of finite factors.
  func factors(_ key: String, count: Int) throws -> [Float] {
    let numbers = try floats(key, count: count) ?? [Double](repeating: 1, count: count)
    try require(numbers.allSatisfy { $0.isFinite && abs($0) < 1e30 }, key, "expected finite numbers")
    return numbers.map { Float($0) }
  }

  /// The object under a key, or nil.
  func object(_ key: String) throws -> ConfigurationReader? {
    try value(key).map { try ConfigurationReader(path: path, prefix: prefix + key + ".", $0) }
  }

  private func array(_ key: String) throws -> [JSONValue]? {
    guard let value = value(key) else { return nil }
    guard case .array(let elements) = value else { throw failure(key, "expected a list") }
    guard elements.count <= 1 << 20 else { throw failure(key, "\(elements.count) elements are too many") }
    return elements
  }

  private static func number(_ value: JSONValue) -> Double? {
    switch value {
    case .integer(let number): return Double(number)
    case .number(let number): return number
    case .object:
      switch value["__float__"]?.stringValue {
      case "Infinity": return .infinity
      case "-Infinity": return -.infinity
      case "NaN": return .nan
      default: return nil
      }
    default: return nil
    }
  }

  /// A value as one short line.
  private static func shown(_ value: JSONValue) -> String {
    let text = value.text
    return text.count <= 120 ? text : text.prefix(117) + "..."
  }
}
