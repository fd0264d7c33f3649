import BraidTensor
import OrderedCollections

/// Strict loading: every declared tensor is in the checkpoint, in its shape, and nothing else is.
public struct WeightMatch: Sendable {
  /// A tensor that follows from the model's configuration: published files may hold it or not.
  public struct Derived: Sendable {
    public let name: String
    public let shape: Shape?
    /// What is wrong with the values in a file, or nil where they are right.
    public let check: @Sendable (Tensor) -> String?

    /// A tensor that may be absent and, where present, has `shape` (nil: any) and passes `check`.
    public init(
      _ name: String, shape: Shape? = nil, check: @escaping @Sendable (Tensor) -> String? = { _ in nil }
    ) {
      self.name = name
      self.shape = shape
      self.check = check
    }

    /// A tensor that may be absent and, where present, holds exactly these integers.
    public static func integers(_ name: String, shape: Shape, _ values: @escaping @Sendable () -> [Int])
      -> Derived
    {
      Derived(name, shape: shape) { tensor in
        let found = tensor.elements(as: Int64.self)
        let expected = values()
        precondition(
          expected.count == shape.elementCount, "WeightMatch: \(expected.count) values for \(shape)")
        guard let index = found.indices.first(where: { Int(found[$0]) != expected[$0] }) else { return nil }
        return "element \(index) is \(found[index]), the configuration gives \(expected[index])"
      }
    }

    /// A tensor that may be absent and, where present, holds these numbers within `tolerance`, absolute and
    /// relative.
    public static func numbers(
      _ name: String, shape: Shape, tolerance: Float = 1e-5, _ values: @escaping @Sendable () -> [Float]
    ) -> Derived {
      Derived(name, shape: shape) { tensor in
        let found = tensor.elements(as: Float.self)
        let expected = values()
        precondition(
          expected.count == shape.elementCount, "WeightMatch: \(expected.count) values for \(shape)")
        let wrong = found.indices.first {
          found[$0] != expected[$0] && !(abs(found[$0] - expected[$0]) <= tolerance * (1 + abs(expected[$0])))
        }
        guard let index = wrong else { return nil }
        return "element \(index) is \(found[index]), the configuration gives \(expected[index])"
      }
    }
  }

  public let expected: OrderedDictionary<String, Shape>
  public let derived: [Derived]

  /// The tensors that a model declares, and those that follow from its configuration.
  public init(_ expected: OrderedDictionary<String, Shape>, derived: [Derived] = []) {
    self.expected = expected
    self.derived = derived
  }

  /// The tensors that a model declares, and those that follow from its configuration.
  public init(_ expected: [(key: String, value: Shape)], derived: [Derived] = []) {
    self.expected = OrderedDictionary(
      expected.map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first })
    self.derived = derived
  }

  /// The declared tensors, read from `checkpoint`.
  ///
  /// - Parameter keyMap: the model's name of a checkpoint's key, where a published layout differs; nil drops it.
  /// - Throws: one `CheckpointError.mismatch` that lists everything missing, unused, misshapen or contradictory.
  public func load(
    from checkpoint: Checkpoint, keyMap: (String) -> String? = { $0 }
  ) throws -> OrderedDictionary<String, Tensor> {
    try keys(in: checkpoint, keyMap: keyMap).mapValues { try checkpoint.tensor($0) }
  }

  /// The checkpoint's key of each declared tensor, in the order of declaration, after the checks of `load`.
  func keys(
    in checkpoint: Checkpoint, keyMap: (String) -> String? = { $0 }
  ) throws -> OrderedDictionary<String, String> {
    var keys: OrderedDictionary<String, String> = [:]
    var mismatch = WeightMismatch()
    var unused: [String] = []
    let checks = Dictionary(derived.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    for key in checkpoint.keys {
      guard let name = keyMap(key) else { continue }
      guard let found = checkpoint.entry(key)?.shape else { continue }
      if let check = checks[name], expected[name] == nil {
        if let shape = check.shape, shape != found {
          mismatch.misshapen.append(.init(name: name, expected: shape, found: found))
        } else {
          try checkpoint.withPassingTensor(key) { tensor in
            guard let reason = check.check(tensor) else { return }
            mismatch.contradictions.append(.init(name: name, reason: reason))
          }
        }
      } else if let shape = expected[name], keys[name] == nil {
        keys[name] = key
        if shape != found { mismatch.misshapen.append(.init(name: name, expected: shape, found: found)) }
      } else {
        unused.append(name)
      }
    }
    let missing: [String] = expected.keys.filter { keys[$0] == nil }
    func names(_ names: [String], near others: [String]) -> [WeightMismatch.Name] {
      names.enumerated().map { index, name in
        let isShown = index < WeightMismatch.shownCount
        return WeightMismatch.Name(
          name: name, nearest: isShown ? EditDistance.nearest(to: name, in: others, limit: 2000) : nil)
      }
    }
    mismatch.missing = names(missing, near: unused)
    mismatch.unused = names(unused, near: missing)
    guard mismatch.isEmpty else { throw CheckpointError.mismatch(path: checkpoint.path, mismatch) }
    return OrderedDictionary(uniqueKeysWithValues: expected.keys.map { ($0, keys[$0]!) })
  }
}
