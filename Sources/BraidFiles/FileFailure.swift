import Glibc

/// Why a file could not be written.
public struct FileFailure: Error, Equatable, Sendable, CustomStringConvertible {
  public enum Step: Sendable {
    case create
    case write
  }

  public let step: Step
  public let path: String
  public let reason: String

  public var description: String {
    switch step {
    case .create: "\(path): cannot be created: \(reason); choose another place or check its permissions"
    case .write: "\(path): cannot be written: \(reason); nothing of it was kept"
    }
  }
}

/// What the system says of an error code.
public func systemMessage(_ code: Int32) -> String {
  let text = strerror(code).map { String(cString: $0) } ?? "error \(code)"
  return text.prefix(1).lowercased() + text.dropFirst()
}
