import BraidFiles

/// Why a checkpoint cannot be read, matched or written.
public enum CheckpointError: Error, Equatable, CustomStringConvertible {
  /// No such file or folder.
  case notFound(path: String)
  /// The operating system refused to read.
  case unreadable(path: String, reason: String)
  /// The content is none of the known formats.
  case unrecognized(path: String, reason: String)
  /// The content contradicts its format; `offset` counts bytes from the start of the file.
  case malformed(path: String, offset: Int?, reason: String)
  /// A pickle asks for a Python name that no tensor needs.
  case forbidden(path: String, name: String, offset: Int)
  /// Valid, but not something that can be loaded here.
  case unsupported(path: String, reason: String)
  /// The file asks for more than its size justifies.
  case limitExceeded(path: String, reason: String)
  /// The set of weights to take is not there (`named`), or is not the only one (`named` is nil).
  case weightsKey(path: String, named: String?, available: [String])
  /// No tensor of that name.
  case missingKey(path: String, key: String, nearest: String?)
  /// The tensors are not those that the model declares.
  case mismatch(path: String, WeightMismatch)
  /// The file cannot be written.
  case unwritable(path: String, reason: String)

  public var description: String {
    switch self {
    case .notFound(let path):
      return "\(shown(path)): no such file or folder"
    case .unreadable(let path, let reason):
      return "\(shown(path)): cannot be read: \(reason)"
    case .unrecognized(let path, let reason):
      return "\(shown(path)): not a checkpoint: \(shown(reason))"
    case .malformed(let path, let offset, let reason):
      let place = offset.map { " at byte \($0)" } ?? ""
      return "\(shown(path)): damaged\(place): \(shown(reason))"
    case .forbidden(let path, let name, let offset):
      return "\(shown(path)): its pickle asks for \(shown(name)) (at byte \(offset)), which no tensor needs; "
        + "nothing was executed. Save the state dictionary alone, or as safetensors"
    case .unsupported(let path, let reason):
      return "\(shown(path)): not supported: \(shown(reason))"
    case .limitExceeded(let path, let reason):
      return "\(shown(path)): refused: \(shown(reason))"
    case .weightsKey(let path, let named, let available):
      let list = available.isEmpty ? "none" : abbreviated(available.map(shown), limit: 12)
      if let named {
        return "\(shown(path)): no weights under the key \"\(shown(named))\"; there are: \(list)"
      }
      return available.isEmpty
        ? "\(shown(path)): holds no tensors"
        : "\(shown(path)): holds several sets of weights; choose one with --weights-key: \(list)"
    case .missingKey(let path, let key, let nearest):
      let hint = nearest.map { "; the nearest is \"\(shown($0))\"" } ?? ""
      return "\(shown(path)): no tensor \"\(shown(key))\"\(hint)"
    case .mismatch(let path, let mismatch):
      return "\(shown(path)): \(mismatch)"
    case .unwritable(let path, let reason):
      return "\(shown(path)): cannot be written: \(reason)"
    }
  }
}

private func shown(_ text: String) -> String { text.escapedForTerminal }

/// The items joined by commas, the ones past `limit` only counted.
func abbreviated(_ items: [String], limit: Int) -> String {
  guard items.count > limit else { return items.joined(separator: ", ") }
  return items.prefix(limit).joined(separator: ", ") + " and \(items.count - limit) more"
}

extension CheckpointError {
  /// The failure to write a file as an error of checkpoints.
  init(_ failure: FileFailure) { self = .unwritable(path: failure.path, reason: failure.reason) }
}
