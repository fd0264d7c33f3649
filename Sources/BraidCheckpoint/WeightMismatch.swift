import BraidTensor

/// How the tensors of a checkpoint differ from those that a model declares.
public struct WeightMismatch: Sendable, Hashable, CustomStringConvertible {
  /// A declared tensor that the file lacks, or one of the file that the model does not declare.
  public struct Name: Sendable, Hashable {
    public let name: String
    /// The unmatched name on the other side that looks most like it.
    public let nearest: String?
  }

  /// A tensor of another shape than the model declares.
  public struct Misshapen: Sendable, Hashable {
    public let name: String
    public let expected: Shape
    public let found: Shape
  }

  /// A tensor whose values contradict the model's configuration.
  public struct Contradiction: Sendable, Hashable {
    public let name: String
    public let reason: String
  }

  public var missing: [Name] = []
  public var unused: [Name] = []
  public var misshapen: [Misshapen] = []
  public var contradictions: [Contradiction] = []

  public var isEmpty: Bool {
    missing.isEmpty && unused.isEmpty && misshapen.isEmpty && contradictions.isEmpty
  }

  /// All differences, long lists abbreviated.
  public var description: String {
    func list(_ title: String, _ items: [String]) -> String {
      guard !items.isEmpty else { return "" }
      let shown = items.prefix(Self.shownCount).map { "\n    " + $0 }.joined()
      let rest = items.count > Self.shownCount ? "\n    and \(items.count - Self.shownCount) more" : ""
      return "\n  \(title) (\(items.count)):" + shown + rest
    }
    func text(_ item: Name) -> String {
      item.name.escapedForTerminal
        + (item.nearest.map { " (the nearest is \($0.escapedForTerminal))" } ?? "")
    }
    return "the tensors are not those of the model"
      + list("missing from the file", missing.map(text))
      + list("not used by the model", unused.map(text))
      + list(
        "of another shape",
        misshapen.map {
          "\($0.name.escapedForTerminal): \($0.found) in the file, \($0.expected) in the model"
        })
      + list("of other values", contradictions.map { "\($0.name.escapedForTerminal): \($0.reason)" })
  }

  /// How many items of each list are written out, and get a nearest name.
  static let shownCount = 12
}
