import Foundation

@testable import BraidCheckpoint

/// The files of Fixtures/ and what they hold.
enum Fixture {
  struct Description: Decodable {
    struct Tensor: Decodable {
      let key: String
      let type: String
      let shape: [Int]
      let values: [Double]
    }
    let tensors: [Tensor]
    let weightsKey: String?
    let fails: String?
  }

  static let folder = Bundle.module.resourcePath! + "/Fixtures/"
  static let expected: [String: Description] = try! JSONDecoder().decode(
    [String: Description].self, from: Data(contentsOf: URL(fileURLWithPath: folder + "expected.json")))
  static let good = expected.keys.filter { expected[$0]!.fails == nil }.sorted()
  static let bad = expected.keys.filter { expected[$0]!.fails != nil }.sorted()

  /// Calls `body` with a new folder that is removed afterwards.
  static func withFolder<Result>(_ body: (String) throws -> Result) throws -> Result {
    let folder = FileManager.default.temporaryDirectory.path + "/braid-test-\(UUID().uuidString)/"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    return try body(folder)
  }

  static func bytes(_ name: String) -> [UInt8] {
    [UInt8](try! Data(contentsOf: URL(fileURLWithPath: folder + name)))
  }

  static func write(_ bytes: [UInt8], _ path: String) throws {
    try Data(bytes).write(to: URL(fileURLWithPath: path))
  }

  /// A safetensors file of the given header and data.
  static func safetensors(_ header: String, data: Int = 0) -> [UInt8] {
    withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) } + Array(header.utf8)
      + [UInt8](repeating: 1, count: data)
  }
}
