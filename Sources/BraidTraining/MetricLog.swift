import Foundation

/// A file of newline-delimited JSON, one record per logged step.
public struct MetricLog: Sendable {
  public let path: String

  public init(path: String) { self.path = path }

  /// One logged step: its number and its figures by name.
  public struct Record: Sendable, Codable, Hashable {
    public var step: Int
    public var values: [String: Double]

    public init(step: Int, values: [String: Double]) {
      self.step = step
      self.values = values
    }
  }

  /// All records of the file; none where it does not exist. An unfinished last line is left out.
  public func records() -> [Record] {
    guard let data = FileManager.default.contents(atPath: path) else { return [] }
    let decoder = JSONDecoder()
    return data.split(separator: UInt8(ascii: "\n")).compactMap {
      try? decoder.decode(Record.self, from: Data($0))
    }
  }

  /// Appends one record.
  public func append(_ record: Record) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    var line = try encoder.encode(record)
    line.append(UInt8(ascii: "\n"))
    if !FileManager.default.fileExists(atPath: path) {
      _ = FileManager.default.createFile(atPath: path, contents: nil)
    }
    guard let handle = FileHandle(forWritingAtPath: path) else { throw TrainingError.cannotWrite(path: path) }
    defer { try? handle.close() }
    try handle.seekToEnd()
    try handle.write(contentsOf: line)
  }

  /// Drops the records after `step`: they will be made again by a resumed run.
  public func truncate(after step: Int) throws {
    let kept = records().filter { $0.step <= step }
    try? FileManager.default.removeItem(atPath: path)
    for record in kept { try append(record) }
  }
}

/// Why training cannot go on.
public enum TrainingError: Error, Equatable, CustomStringConvertible {
  case cannotWrite(path: String)
  /// The saved state belongs to another configuration.
  case stateMismatch(path: String, reason: String)
  case notFinite(step: Int, loss: Float)
  case invalidConfiguration(String)
  case noData(String)

  public var description: String {
    switch self {
    case .cannotWrite(let path): "\(path): cannot be written; check the folder and its permissions"
    case .stateMismatch(let path, let reason):
      "\(path): the saved state does not fit this run (\(reason)); use another folder or remove it"
    case .notFinite(let step, let loss):
      "the loss became \(loss) at step \(step); lower the learning rate or the gradient clip"
    case .invalidConfiguration(let reason): "the training configuration is not usable: \(reason)"
    case .noData(let reason): "no training data: \(reason)"
    }
  }
}
