import OrderedCollections

/// Finds the tensors to load in the nested dictionaries of a pickle.
///
/// A dictionary that holds tensors itself is taken as it is. Otherwise the first of `preferredKeys` under which
/// tensors stand is entered (again and again: `{"model": {"state_dict": ...}}`), or the only member that holds
/// any. Several members and none preferred: the user chooses. What is deeper below the chosen dictionary gets
/// dotted keys.
struct WeightSelection {
  /// The well-known names of sets of weights, the first one present wins: averaged weights come first.
  static let preferredKeys = [
    "params_ema", "params", "model_ema", "state_dict_ema", "ema", "state_dict", "generator",
    "model_state_dict",
    "model", "net_g", "net", "network", "module", "weights",
  ]

  private let graph: PickleGraph
  private let path: String
  /// 0: not looked at, 1: being looked at, 2: holds no tensor, 3: holds one.
  private var marks: [UInt8]
  private var visits: Int
  private var keyBytes = 0

  private static let maximumDepth = 16
  private static let maximumKeyBytes = 4096
  private static let maximumTotalKeyBytes = 1 << 26

  init(_ graph: PickleGraph, path: String) {
    self.graph = graph
    self.path = path
    marks = [UInt8](repeating: 0, count: graph.nodes.count)
    visits = 4 * graph.nodes.count + 1024
  }

  /// The chosen set of weights.
  struct Result {
    /// Key and node of each tensor, in the file's order.
    var tensors: OrderedDictionary<String, PickleGraph.Reference> = [:]
    /// Where they stand, dotted; empty for the outermost dictionary.
    var weightsKey: String
    /// All sets of weights in the file.
    var available: [String]
  }

  /// The weights under `weightsKey` (dotted where nested; "." for all), or those found by the rules above.
  mutating func select(_ weightsKey: String?) throws -> Result {
    let available = availableKeys()
    var current = graph.root
    var chosen: [String] = []
    if let weightsKey {
      if weightsKey != "." {
        guard let found = find(weightsKey, from: graph.root, depth: 0), holdsTensor(found, 0) else {
          throw CheckpointError.weightsKey(path: path, named: weightsKey, available: available)
        }
        current = found
        chosen = [weightsKey]
      }
    } else {
      while chosen.count < 8, let next = try choose(current, isOutermost: chosen.isEmpty) {
        chosen.append(next.name)
        current = next.value
      }
    }
    var result = Result(weightsKey: chosen.joined(separator: "."), available: available)
    if isTensor(current) {
      result.tensors["tensor"] = current
    } else {
      try collect(current, prefix: "", depth: 0, into: &result.tensors)
    }
    guard !result.tensors.isEmpty else {
      throw CheckpointError.weightsKey(path: path, named: weightsKey, available: available)
    }
    return result
  }

  private func isTensor(_ reference: PickleGraph.Reference) -> Bool {
    TorchTensorReader.isTensor(graph[reference])
  }

  private func name(_ key: PickleGraph.Reference) -> String? {
    graph.string(key) ?? graph.integer(key).map(String.init)
  }

  /// The named members of a dictionary or list; of members of one name the last counts, as in Python.
  private func children(_ reference: PickleGraph.Reference) -> OrderedDictionary<
    String, PickleGraph.Reference
  > {
    var result: OrderedDictionary<String, PickleGraph.Reference> = [:]
    for (key, value) in graph.members(reference) ?? [] {
      if let name = name(key) { result[name] = value }
    }
    for (index, value) in (graph.elements(reference) ?? []).enumerated() { result[String(index)] = value }
    return result
  }

  private mutating func holdsTensor(_ reference: PickleGraph.Reference, _ depth: Int) -> Bool {
    let index = Int(reference)
    if marks[index] != 0 { return marks[index] == 3 }
    if isTensor(reference) {
      marks[index] = 3
      return true
    }
    guard depth < 2 * Self.maximumDepth else { return false }
    marks[index] = 1
    var holds = false
    for (_, value) in graph.members(reference) ?? [] where holdsTensor(value, depth + 1) {
      holds = true
      break
    }
    if !holds {
      for value in graph.elements(reference) ?? [] where holdsTensor(value, depth + 1) {
        holds = true
        break
      }
    }
    marks[index] = holds ? 3 : 2
    return holds
  }

  /// The member to go into, or nil where this dictionary is the set of weights.
  private mutating func choose(
    _ reference: PickleGraph.Reference, isOutermost: Bool
  ) throws -> (name: String, value: PickleGraph.Reference)? {
    guard graph.members(reference) != nil else { return nil }
    let members = children(reference)
    if members.values.contains(where: isTensor) { return nil }
    for key in Self.preferredKeys {
      if let value = members[key], holdsTensor(value, 0) { return (key, value) }
    }
    guard isOutermost else { return nil }
    let candidates = members.elements.filter { holdsTensor($0.value, 0) }
    guard candidates.count <= 1 else {
      throw CheckpointError.weightsKey(
        path: path, named: nil, available: candidates.map { $0.key.truncated(to: 200) } + ["."])
    }
    return candidates.first.map { ($0.key, $0.value) }
  }

  private func find(_ key: String, from reference: PickleGraph.Reference, depth: Int) -> PickleGraph
    .Reference?
  {
    let members = children(reference)
    if let value = members[key] { return value }
    guard depth < 4, let dot = key.firstIndex(of: ".") else { return nil }
    guard let value = members[String(key[..<dot])] else { return nil }
    return find(String(key[key.index(after: dot)...]), from: value, depth: depth + 1)
  }

  /// The dictionaries that hold tensors in their members, two levels deep.
  private mutating func availableKeys() -> [String] {
    var result: [String] = []
    for (name, value) in children(graph.root) where graph.members(value) != nil && holdsTensor(value, 0) {
      result.append(name.truncated(to: 200))
      guard result.count < 100 else { break }
      let inner = children(value)
      guard !inner.values.contains(where: isTensor) else { continue }
      for (innerName, innerValue) in inner
      where graph.members(innerValue) != nil && holdsTensor(innerValue, 0) {
        result.append(name.truncated(to: 200) + "." + innerName.truncated(to: 200))
        guard result.count < 100 else { break }
      }
    }
    return result
  }

  private mutating func collect(
    _ reference: PickleGraph.Reference, prefix: String, depth: Int,
    into tensors: inout OrderedDictionary<String, PickleGraph.Reference>
  ) throws {
    guard depth < Self.maximumDepth else {
      throw CheckpointError.limitExceeded(
        path: path, reason: "dictionaries nested deeper than \(Self.maximumDepth) levels, or in a circle")
    }
    for (name, value) in children(reference) {
      visits -= 1
      guard visits >= 0 else {
        throw CheckpointError.limitExceeded(
          path: path, reason: "dictionaries that contain each other over and over")
      }
      guard holdsTensor(value, 0) else { continue }
      let key = prefix + name
      keyBytes += key.utf8.count
      guard key.utf8.count <= Self.maximumKeyBytes, keyBytes <= Self.maximumTotalKeyBytes else {
        throw CheckpointError.limitExceeded(
          path: path, reason: "keys longer than \(Self.maximumKeyBytes) bytes")
      }
      if isTensor(value) {
        tensors[key] = value
      } else {
        try collect(value, prefix: key + ".", depth: depth + 1, into: &tensors)
      }
    }
  }

  /// The numbers and texts that stand beside the weights in the outermost dictionary ("epoch", say).
  func notes() -> OrderedDictionary<String, String> {
    var result: OrderedDictionary<String, String> = [:]
    for (key, value) in graph.members(graph.root) ?? [] {
      guard result.count < 100, let name = graph.string(key)?.truncated(to: 200) else { continue }
      switch graph[value] {
      case .bool(let flag): result[name] = String(flag)
      case .integer(let number): result[name] = String(number)
      case .number(let number): result[name] = String(number)
      case .string(let text): result[name] = text.truncated(to: 1000)
      default: continue
      }
    }
    return result
  }
}
