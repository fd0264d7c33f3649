/// Why a model cannot be found, added or trusted.
public enum ModelStoreError: Error, Equatable, CustomStringConvertible {
  /// Not a name that a model can have.
  case invalidName(String)
  /// No model of that name, and no such file.
  case unknown(name: String, nearest: String?, available: [String])
  /// A model of that name is there already.
  case exists(name: String, path: String)
  /// The model's file is not what was added, or not usable.
  case damaged(name: String, path: String, reason: String)
  /// There is no folder to keep models in.
  case noFolder

  public var description: String {
    switch self {
    case .invalidName(let name):
      return
        "\"\(name.truncated(to: 120).escapedForTerminal)\" cannot be a model's name: use 1 to 100 letters, "
        + "digits, '.', '_', '-', the first a letter or digit"
    case .unknown(let name, let nearest, let available):
      let hint = nearest.map { "; the nearest is \($0.escapedForTerminal)" } ?? ""
      let list = available.isEmpty ? "none" : abbreviated(available.map(\.escapedForTerminal), limit: 20)
      return "no model or file \"\(name.truncated(to: 200).escapedForTerminal)\"\(hint). Models: \(list)"
    case .exists(let name, let path):
      return "the model \(name) is there already: \(path.escapedForTerminal)"
    case .damaged(let name, let path, let reason):
      return "the model \(name) (\(path.escapedForTerminal)) is damaged: \(reason.escapedForTerminal)"
    case .noFolder:
      return "no folder for models: set BRAID_MODELS, XDG_DATA_HOME or HOME"
    }
  }
}
