import Foundation
import Synchronization

/// The worst errors that the conformance tests saw, by mixer and property, for the documentation.
///
/// With `BRAID_CONFORMANCE_TABLE=FILE` in the environment they are written there.
enum ErrorTable {
  private static let worst = Mutex<[String: Double]>([:])
  private static let path = ProcessInfo.processInfo.environment["BRAID_CONFORMANCE_TABLE"]

  static func note(_ mixer: String, _ what: String, _ error: Double) {
    guard let path else { return }
    let property = what.split(separator: ",")[0]
    worst.withLock { table in
      let key = "\(mixer)\t\(property)"
      table[key] = max(table[key] ?? 0, error)
      let lines = table.sorted { $0.key < $1.key }.map { "\($0.key)\t\($0.value)\n" }
      try? lines.joined().write(toFile: path, atomically: true, encoding: .utf8)
    }
  }
}
