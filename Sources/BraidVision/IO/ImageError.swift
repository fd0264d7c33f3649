import BraidFiles

/// Why a picture was not read or written.
///
/// Every case carries the path, or a description such as "<bytes>" for data from memory.
public enum ImageError: Error, Equatable, Sendable, CustomStringConvertible {
  /// There is no such file.
  case notFound(path: String)
  /// The file exists but its bytes cannot be had (permissions, a folder, a read error).
  case unreadable(path: String, reason: String)
  /// The bytes are of no format, or of a kind of one, that is read.
  case unsupported(path: String, reason: String)
  /// The bytes end before the picture does, or the header promises more than they can hold.
  case truncated(path: String, reason: String)
  /// The bytes contradict their format.
  case corrupt(path: String, reason: String)
  /// The declared size exceeds the limits in force.
  case tooLarge(path: String, width: Int, height: Int, limit: String)
  /// The system has no memory for the picture.
  case outOfMemory(path: String, reason: String)
  /// The output file cannot be created where it was asked for.
  case cannotCreate(path: String, reason: String)
  /// Writing failed after the file was created (disk full, for example); nothing is left behind.
  case cannotWrite(path: String, reason: String)

  /// The path that the error is about.
  public var path: String {
    switch self {
    case .notFound(let path), .unreadable(let path, _), .unsupported(let path, _), .truncated(let path, _),
      .corrupt(let path, _), .tooLarge(let path, _, _, _), .outOfMemory(let path, _),
      .cannotCreate(let path, _), .cannotWrite(let path, _):
      path
    }
  }

  public var description: String {
    switch self {
    case .notFound(let path):
      "\(path): no such file"
    case .unreadable(let path, let reason):
      "\(path): cannot be read: \(reason)"
    case .unsupported(let path, let reason):
      "\(path): not supported: \(reason)"
    case .truncated(let path, let reason):
      "\(path): incomplete: \(reason)"
    case .corrupt(let path, let reason):
      "\(path): damaged: \(reason)"
    case .tooLarge(let path, let width, let height, let limit):
      "\(path): \(width) x \(height) pixels are more than the limit of \(limit)"
    case .outOfMemory(let path, let reason):
      "\(path): out of memory: \(reason)"
    case .cannotCreate(let path, let reason):
      "\(path): cannot be created: \(reason)"
    case .cannotWrite(let path, let reason):
      "\(path): cannot be written: \(reason)"
    }
  }
}

extension ImageError {
  /// The failure to write a file as an error of pictures.
  init(_ failure: FileFailure) {
    self =
      failure.step == .create
      ? .cannotCreate(path: failure.path, reason: failure.reason)
      : .cannotWrite(path: failure.path, reason: failure.reason)
  }
}
