/// Why a description gives no model.
public enum ModelDescriptionError: Error, Equatable, Sendable, CustomStringConvertible {
  /// `known` are the architectures that there are for the job.
  case unknownArchitecture(source: String, name: String, known: [String])
  case configuration(source: String, reason: String)

  public var description: String {
    switch self {
    case .unknownArchitecture(let source, let name, let known):
      "\(source): the architecture \"\(name)\" is not one of those for this: \(known.joined(separator: ", "))"
    case .configuration(let source, let reason):
      "\(source): the model's configuration is not usable: \(reason)"
    }
  }
}
