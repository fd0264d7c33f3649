import BraidCheckpoint

/// Why a model that was asked for cannot be had.
public enum ModelError: Error, Equatable, Sendable, CustomStringConvertible {
  /// Neither a model of the catalogue, nor one that was added, nor a file.
  case unknown(name: String, nearest: String?, available: [String])
  /// The architecture is known; its weights are not here. `origin` says where they are published.
  case weightsMissing(name: String, file: String?, origin: String?)
  /// A file without a description, whose tensors are those of no architecture that can be told from them.
  case unrecognizedArchitecture(path: String)
  /// A model of the catalogue that does something else.
  case otherTask(name: String, task: String, wanted: [String])
  /// A scale that the model was not built for.
  case scale(asked: Int, model: String, has: Int, available: [String])
  /// No shipped model for this scale.
  case noModelForScale(asked: Int, available: [String])

  public var description: String {
    switch self {
    case .unknown(let name, let nearest, let available):
      let hint = nearest.map { "; the nearest is \($0)" } ?? ""
      return
        "no model or file \"\(name.escapedForTerminal)\"\(hint). Models: \(available.joined(separator: ", "))"
    case .weightsMissing(let name, let file, let origin):
      guard let file else { return "this build was made without the weights of \(name)" }
      return "the weights of \(name) do not come with Braid; they are published as \(file)"
        + (origin.map { " (\($0))" } ?? "")
    case .unrecognizedArchitecture(let path):
      return "\(path.escapedForTerminal): its tensors do not say which model they belong to"
    case .otherTask(let name, let task, let wanted):
      return "\(name) is a model for the task \(task), not for \(wanted.joined(separator: " or "))"
    case .scale(let asked, let model, let has, let available):
      return "\(model) was built for scale \(has), not \(asked); \(Self.list(available, asked))"
    case .noModelForScale(let asked, let available):
      return "no model that ships was built for scale \(asked); \(Self.list(available, asked))"
    }
  }

  /// What to do about it, in a line.
  public var hint: String? {
    switch self {
    case .unknown: return "see them with: braid models list"
    case .weightsMissing(let name, let file, _):
      return file.map { "download the file, then: braid models add \($0) --name \(name)" }
        ?? "give them by --weights FILE, or another model by --model"
    case .unrecognizedArchitecture: return "name its architecture too: --model NAME --weights FILE"
    case .otherTask: return "see them with: braid models list"
    case .scale, .noModelForScale: return nil
    }
  }

  private static func list(_ available: [String], _ scale: Int) -> String {
    available.isEmpty ? "there is none for it" : "available: \(available.joined(separator: ", "))"
  }
}
