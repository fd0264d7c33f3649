/// Why a recording was not enhanced, where neither its file nor memory is the reason.
public enum EnhanceError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The model gave samples that are not numbers.
  case notFinite(architecture: String)
  /// The model needs the whole recording and cannot work on a stream.
  case cannotStream(architecture: String)
  /// A shared mask needs whole segments.
  case cannotShareMask
  /// The reference does not fit the recording.
  case reference(path: String, reason: String)
  /// A list of mixtures that makes no sense; `line` counts from 1.
  case list(path: String, line: Int, reason: String)

  public var description: String {
    switch self {
    case .notFinite(let name):
      "the model (\(name)) gave samples that are not numbers; its weights may be damaged"
    case .cannotStream(let name): "\(name) looks at a recording as a whole; it cannot work on a stream"
    case .cannotShareMask: "a stream is enhanced channel by channel, without a shared mask"
    case .reference(let path, let reason): "\(path): does not fit the recording: \(reason)"
    case .list(let path, let line, let reason): "\(path), line \(line): \(reason)"
    }
  }
}
