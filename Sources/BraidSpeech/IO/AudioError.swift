import BraidFiles

/// Why a recording was not read or written.
///
/// Every case carries the path, "-" for a standard stream.
public enum AudioError: Error, Equatable, Sendable, CustomStringConvertible {
  case notFound(path: String)
  /// The file exists but its bytes cannot be had (permissions, a folder, a read error).
  case unreadable(path: String, reason: String)
  /// The bytes are of no audio format that is read, or the output of none that is written.
  case unsupported(path: String, reason: String)
  /// The bytes contradict their format, or end too early.
  case corrupt(path: String, reason: String)
  /// There are no samples.
  case empty(path: String)
  case cannotCreate(path: String, reason: String)
  /// Writing failed after the file was created (disk full, for example); nothing is left behind.
  case cannotWrite(path: String, reason: String)
  /// Who read the output went away before its end.
  case abandoned(path: String)
  /// Rates that differ by more than a resampler takes.
  case rates(path: String, from: Int, to: Int)

  public var description: String {
    switch self {
    case .notFound(let path): "\(path): no such file"
    case .unreadable(let path, let reason): "\(path): cannot be read: \(reason)"
    case .unsupported(let path, let reason): "\(path): not supported: \(reason)"
    case .corrupt(let path, let reason): "\(path): damaged: \(reason)"
    case .empty(let path): "\(path): holds no samples"
    case .cannotCreate(let path, let reason): "\(path): cannot be created: \(reason)"
    case .cannotWrite(let path, let reason): "\(path): cannot be written: \(reason)"
    case .abandoned(let path): "\(path): its reader went away"
    case .rates(let path, let from, let to): "\(path): \(from) Hz cannot be brought to \(to) Hz"
    }
  }

  init(_ failure: FileFailure) {
    self =
      failure.step == .create
      ? .cannotCreate(path: failure.path, reason: failure.reason)
      : .cannotWrite(path: failure.path, reason: failure.reason)
  }
}
