import BraidCheckpoint

/// Why a language model, or something for one, cannot be had.
public enum LanguageModelError: Error, Equatable, CustomStringConvertible {
  /// No such file or folder.
  case notFound(path: String)
  /// The operating system refused to read.
  case unreadable(path: String, reason: String)
  /// A key of a configuration has a value that makes no sense, or contradicts another.
  case configuration(path: String, key: String, value: String, reason: String)
  /// Parts of a configuration that contradict each other.
  case inconsistent(path: String, reason: String)
  /// A type of model that is not known here.
  case unknownModelType(path: String, found: String, known: [String])
  /// A list of token ids that cannot be used.
  case tokens(path: String, reason: String)
  /// A token id that the model does not have.
  case token(id: Int, position: Int, vocabulary: Int)
  /// A generation that cannot be begun.
  case generation(reason: String)

  public var description: String {
    func shown(_ text: String) -> String { text.escapedForTerminal }
    switch self {
    case .notFound(let path):
      return "\(shown(path)): no such file or folder"
    case .unreadable(let path, let reason):
      return "\(shown(path)): cannot be read: \(shown(reason))"
    case .configuration(let path, let key, let value, let reason):
      return "\(shown(path)): \"\(shown(key))\" is \(shown(value)): \(shown(reason))"
    case .inconsistent(let path, let reason):
      return "\(shown(path)): \(shown(reason))"
    case .unknownModelType(let path, let found, let known):
      return "\(shown(path)): \"model_type\" is \(shown(found)); known are \(known.joined(separator: ", "))"
    case .tokens(let path, let reason):
      return "\(shown(path)): \(shown(reason))"
    case .token(let id, let position, let vocabulary):
      return "token \(position) is \(id), outside the vocabulary 0..<\(vocabulary)"
    case .generation(let reason):
      return reason
    }
  }
}
