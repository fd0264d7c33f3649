import Braid
import Foundation
import Testing

/// The built command, and a folder of its own for each test.
struct BraidExecutable {
  let folder: String

  /// What a run of the command left.
  struct Run {
    let status: Int32
    let output: String
    let errors: String

    /// The events of `--json`.
    func events() throws -> [JSONValue] {
      try output.split(separator: "\n").map { try JSONValue(parsing: String($0)) }
    }
  }

  /// The command beside the test bundle.
  static let path: String = {
    let tests = try! FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    return (tests as NSString).deletingLastPathComponent + "/braid"
  }()

  init() throws {
    folder = NSTemporaryDirectory() + "braid-cli-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
  }

  func remove() { try? FileManager.default.removeItem(atPath: folder) }

  /// Runs the command in the test's folder, where no models were added.
  func callAsFunction(_ arguments: String..., environment: [String: String] = [:]) throws -> Run {
    try run(arguments, environment: environment)
  }

  func run(
    _ arguments: [String], executable: String = path, environment: [String: String] = [:]
  ) throws -> Run {
    let process = try start(arguments, executable: executable, environment: environment)
    // Both pipes are read at once: a full one would stop the command.
    let errors = Mutexed(Data())
    let reader = Thread {
      errors.set((process.standardError as! Pipe).fileHandleForReading.readDataToEndOfFile())
    }
    reader.start()
    let output = (process.standardOutput as! Pipe).fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    while !reader.isFinished { usleep(500) }
    return Run(
      status: process.terminationReason == .uncaughtSignal
        ? -process.terminationStatus : process.terminationStatus,
      output: String(decoding: output, as: UTF8.self), errors: String(decoding: errors.value, as: UTF8.self))
  }

  func start(
    _ arguments: [String], executable: String = path, environment: [String: String] = [:]
  ) throws -> Process {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: executable)
    process.arguments = arguments
    process.currentDirectoryURL = URL(fileURLWithPath: folder)
    process.environment = [
      "PATH": "/usr/bin:/bin", "BRAID_MODELS": folder + "/models", "XDG_DATA_HOME": folder + "/data",
    ].merging(environment) { $1 }
    process.standardOutput = Pipe()
    process.standardError = Pipe()
    try process.run()
    return process
  }

  /// All files below the folder, hidden ones too, by relative path.
  func files() -> [String] {
    let names = FileManager.default.enumerator(atPath: folder)?.compactMap { $0 as? String } ?? []
    return names.filter { name in
      var isFolder: ObjCBool = false
      return FileManager.default.fileExists(atPath: folder + "/" + name, isDirectory: &isFolder)
        && !isFolder.boolValue
    }.sorted()
  }

  /// Writes a picture of a smooth pattern.
  func write(_ name: String, width: Int = 24, height: Int = 16, channels: Int = 3, depth: Int = 8) throws {
    let path = folder + "/" + name
    try FileManager.default.createDirectory(
      atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
    var values: [Float] = []
    for y in 0..<height {
      for x in 0..<width {
        for c in 0..<channels { values.append(0.5 + 0.4 * Float(sin(Double(x * (c + 1) + 2 * y) / 9))) }
      }
    }
    let image = ImageBuffer(
      floats: values, width: width, height: height, colourModel: channels >= 3 ? .rgb : .grey,
      hasAlpha: channels % 2 == 0, depth: depth)
    try ImageWriter.write(image, to: path)
  }

  func write(_ name: String, text: String) throws {
    try Data(text.utf8).write(to: URL(fileURLWithPath: folder + "/" + name))
  }
}

/// A value that two threads hand over.
final class Mutexed<Value>: @unchecked Sendable {
  private let lock = NSLock()
  private var stored: Value
  init(_ value: Value) { stored = value }
  func set(_ value: Value) { lock.withLock { stored = value } }
  var value: Value { lock.withLock { stored } }
}
