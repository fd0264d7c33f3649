import BraidTensor

/// What is in a checkpoint, as text for people and as JSON.
public struct CheckpointReport: Sendable {
  private let checkpoint: Checkpoint
  private let entries: [CheckpointEntry]

  public init(_ checkpoint: Checkpoint) {
    self.checkpoint = checkpoint
    entries = checkpoint.entries
  }

  /// Elements of all tensors.
  public var elementCount: Int { entries.reduce(0) { $0 &+ $1.shape.elementCount } }
  /// Bytes of all tensors as stored.
  public var byteCount: Int { entries.reduce(0) { $0 &+ $1.byteCount } }

  /// Lines of format, metadata, one line a tensor, and totals; safe to print to a terminal.
  public var text: String {
    var lines = [
      "file      \(checkpoint.path.escapedForTerminal)", "format    \(checkpoint.format.rawValue)",
    ]
    if !checkpoint.weightsKey.isEmpty {
      lines.append("weights   \(checkpoint.weightsKey.escapedForTerminal)")
    }
    let others = checkpoint.availableWeightsKeys.filter { $0 != checkpoint.weightsKey }
    if !others.isEmpty {
      lines.append("also      \(abbreviated(others.map(\.escapedForTerminal), limit: 12)) (--weights-key)")
    }
    for (name, value) in checkpoint.metadata {
      lines.append(
        "metadata  \(name.truncated(to: 100).escapedForTerminal): \(value.truncated(to: 400).escapedForTerminal)"
      )
    }
    let rows = entries.map { entry in
      [
        entry.key.escapedForTerminal, entry.storedType.rawValue, entry.shape.description,
        Self.size(entry.byteCount),
      ]
    }
    // One very long name does not push all others off the screen.
    let widths = (0..<4).map { column in min(80, rows.map { $0[column].count }.max() ?? 0) }
    lines.append("")
    for row in rows {
      lines.append(
        Self.padded(row[0], widths[0]) + "  " + Self.padded(row[1], widths[1]) + "  "
          + Self.padded(row[2], widths[2]) + "  " + Self.padded(row[3], widths[3], isRight: true))
    }
    if !rows.isEmpty { lines.append("") }
    lines.append("total     \(entries.count) tensors, \(elementCount) elements, \(Self.size(byteCount))")
    return lines.joined(separator: "\n") + "\n"
  }

  /// The same as a JSON object: path, format, weights_key, metadata, tensors, totals.
  public var json: JSONValue {
    func object(_ members: [(String, JSONValue)]) -> JSONValue {
      .object(members.map { .init(name: $0.0, value: $0.1) })
    }
    return object([
      ("path", .string(checkpoint.path)),
      ("format", .string(checkpoint.format.rawValue)),
      ("weights_key", .string(checkpoint.weightsKey)),
      ("available_weights_keys", .array(checkpoint.availableWeightsKeys.map { .string($0) })),
      ("metadata", object(checkpoint.metadata.map { ($0.key, .string($0.value)) })),
      (
        "tensors",
        .array(
          entries.map { entry in
            object([
              ("key", .string(entry.key)), ("type", .string(entry.storedType.rawValue)),
              ("shape", .array(entry.shape.map { .integer($0) })), ("bytes", .integer(entry.byteCount)),
            ])
          })
      ),
      ("tensor_count", .integer(entries.count)),
      ("element_count", .integer(elementCount)),
      ("byte_count", .integer(byteCount)),
    ])
  }

  private static func padded(_ text: String, _ width: Int, isRight: Bool = false) -> String {
    let space = String(repeating: " ", count: max(0, width - text.count))
    return isRight ? space + text : text + space
  }

  /// The number of bytes in decimal units with one decimal ("41.5 MB").
  static func size(_ byteCount: Int) -> String {
    var value = Double(byteCount)
    var unit = "B"
    for next in ["kB", "MB", "GB", "TB"] where value >= 1000 {
      value /= 1000
      unit = next
    }
    return unit == "B" ? "\(byteCount) B" : "\((value * 10).rounded() / 10) \(unit)"
  }
}
