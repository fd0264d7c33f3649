import BraidCheckpoint
import Foundation

/// Files of token ids: decimal numbers separated by white space.
public enum TokenFile {
  /// The ids in the file at `path`, "-" for standard input.
  ///
  /// - Throws: `LanguageModelError.notFound`, `.unreadable`, or `.tokens` with the place of what is no id.
  public static func read(_ path: String) throws -> [Int] {
    let data: Data
    if path == "-" {
      data = (try? FileHandle.standardInput.readToEnd()) ?? Data()
    } else {
      var isFolder: ObjCBool = false
      guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
        throw LanguageModelError.notFound(path: path)
      }
      if isFolder.boolValue { throw LanguageModelError.unreadable(path: path, reason: "it is a folder") }
      guard let content = FileManager.default.contents(atPath: path) else {
        throw LanguageModelError.unreadable(path: path, reason: "permission denied, or not a file")
      }
      data = content
    }
    return try parse([UInt8](data), path: path)
  }

  /// The ids in a text.
  public static func parse(_ bytes: [UInt8], path: String) throws -> [Int] {
    var tokens: [Int] = []
    var index = 0
    var line = 1
    func isSpace(_ byte: UInt8) -> Bool { byte == 32 || (9...13).contains(byte) }
    while index < bytes.count {
      if isSpace(bytes[index]) {
        if bytes[index] == 10 { line += 1 }
        index += 1
        continue
      }
      let start = index
      var value = 0
      var isNumber = true
      while index < bytes.count, !isSpace(bytes[index]) {
        let digit = bytes[index]
        if (48...57).contains(digit), value < 1 << 40 {
          value = value * 10 + Int(digit - 48)
        } else {
          isNumber = false
        }
        index += 1
      }
      guard isNumber else {
        let word = String(decoding: bytes[start..<min(index, start + 40)], as: UTF8.self)
        throw LanguageModelError.tokens(
          path: path,
          reason: "line \(line): \"\(word)\" is no token id; expected whole numbers and white space")
      }
      tokens.append(value)
    }
    guard !tokens.isEmpty else { throw LanguageModelError.tokens(path: path, reason: "holds no token ids") }
    return tokens
  }
}
