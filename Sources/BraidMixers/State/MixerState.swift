import BraidTensor

/// What a causal mixer remembers of the positions it has seen: named tensors and their number.
///
/// A value: a copy goes on by itself. Every tensor has the batch as its first axis. A state can be saved, loaded,
/// split along the batch, handed to another process, and learnt (its tensors may ask for gradients).
public struct MixerState: Sendable {
  private struct Entry: Sendable {
    var tensor: Tensor
    /// The rows along axis 1 that hold something; nil where the tensor is no growing buffer.
    var rows: Range<Int>?
  }
  private var entries: [String: Entry] = [:]

  /// Positions absorbed so far.
  public var position = 0
  /// States of the parts of a composed mixer, by name.
  public var children: [String: MixerState] = [:]

  public init(_ tensors: [String: Tensor] = [:], position: Int = 0, children: [String: MixerState] = [:]) {
    entries = tensors.mapValues { Entry(tensor: $0, rows: nil) }
    self.position = position
    self.children = children
  }

  /// The names of the tensors, sorted.
  public var names: [String] { entries.keys.sorted() }

  /// The tensor of that name; of a growing buffer the rows that hold something, as a view.
  public subscript(name: String) -> Tensor {
    get {
      guard let entry = entries[name] else { preconditionFailure("MixerState: there is no tensor \(name)") }
      return entry.rows.map { entry.tensor.sliced(axis: 1, $0) } ?? entry.tensor
    }
    set { entries[name] = Entry(tensor: newValue, rows: nil) }
  }

  /// Whether there is a tensor of that name.
  public func contains(_ name: String) -> Bool { entries[name] != nil }

  /// The part of that name, for a composed mixer.
  public subscript(child name: String) -> MixerState {
    get {
      guard let child = children[name] else { preconditionFailure("MixerState: there is no part \(name)") }
      return child
    }
    _modify {
      var child = children.removeValue(forKey: name) ?? MixerState()
      defer { children[name] = child }
      yield &child
    }
  }

  /// Rows that the buffer of that name holds; 0 where there is none.
  public func rowCount(_ name: String) -> Int {
    entries[name].map { $0.rows?.count ?? $0.tensor.shape[1] } ?? 0
  }

  /// Puts rows [batch, n, ...] behind those of a buffer, which grows by pages.
  ///
  /// They are written in place where nobody else holds the buffer. Rows that ask for gradients are joined by an
  /// operation that passes them on.
  public mutating func append(_ rows: Tensor, to name: String) {
    guard var entry = entries.removeValue(forKey: name) else {
      if rows.requiresGradient {
        entries[name] = Entry(tensor: rows, rows: nil)
        return
      }
      let empty = Tensor.uninitialized(
        Shape([rows.shape[0], 0] + rows.shape.dimensions.dropFirst(2)), dtype: rows.dtype)
      entries[name] = Entry(tensor: empty, rows: 0..<0)
      return append(rows, to: name)
    }
    var held = entry.rows ?? 0..<entry.tensor.shape[1]
    let added = rows.shape[1]
    if rows.requiresGradient || entry.tensor.requiresGradient {
      let present = entry.tensor.sliced(axis: 1, held)
      let all = held.isEmpty ? rows : Tensor.concatenated([present, rows], axis: 1)
      entries[name] = Entry(tensor: all, rows: nil)
      return
    }
    if held.upperBound + added > entry.tensor.shape[1] {
      let needed = held.count + added
      let capacity = needed + Swift.max(MixerState.pageRows, needed / 4)
      var fresh = Tensor.uninitialized(
        Shape([rows.shape[0], capacity] + rows.shape.dimensions.dropFirst(2)), dtype: entry.tensor.dtype)
      if !held.isEmpty { fresh.replaceRows(at: 0, with: entry.tensor.sliced(axis: 1, held)) }
      entry.tensor = fresh
      held = 0..<held.count
    }
    entry.tensor.replaceRows(at: held.upperBound, with: rows)
    entry.rows = held.lowerBound..<held.upperBound + added
    entries[name] = entry
  }

  /// Writes rows [batch, n, ...] over those of a tensor from `start` on: in place where nobody else holds it.
  ///
  /// Rows that ask for gradients are joined by an operation that passes them on.
  public mutating func replaceRows(at start: Int, with rows: Tensor, of name: String) {
    guard var entry = entries.removeValue(forKey: name) else {
      preconditionFailure("MixerState: there is no tensor \(name)")
    }
    if rows.requiresGradient || entry.tensor.requiresGradient {
      let present = entry.rows.map { entry.tensor.sliced(axis: 1, $0) } ?? entry.tensor
      entry.rows = nil
      entry.tensor = Tensor.concatenated(
        [
          present.sliced(axis: 1, 0..<start), rows,
          present.sliced(axis: 1, start + rows.shape[1]..<present.shape[1]),
        ], axis: 1)
    } else {
      entry.tensor.replaceRows(at: start + (entry.rows?.lowerBound ?? 0), with: rows)
    }
    entries[name] = entry
  }

  /// Drops all but the last `count` rows of a buffer; its memory stays about that of `count` rows as rows come and go.
  public mutating func keepLast(_ count: Int, of name: String) {
    guard let entry = entries[name] else { return }
    let held = entry.rows ?? 0..<entry.tensor.shape[1]
    guard held.count > count else { return }
    let kept = held.upperBound - count..<held.upperBound
    if entry.tensor.requiresGradient {
      entries[name] = Entry(tensor: entry.tensor.sliced(axis: 1, kept), rows: nil)
    } else {
      entries[name]!.rows = kept
    }
  }

  /// Rows by which a buffer grows, at least.
  static let pageRows = 256

  /// The state with every tensor replaced by what `change` makes of it, parts included.
  public func mapped(_ change: (_ name: String, _ tensor: Tensor) throws -> Tensor) rethrows -> MixerState {
    var result = MixerState(position: position)
    for name in names { result[name] = try change(name, self[name]) }
    for (name, child) in children {
      result.children[name] = try child.mapped { try change("\(name).\($0)", $1) }
    }
    return result
  }

  /// The states of the given ranges of the batch.
  public func split(_ counts: [Int]) -> [MixerState] {
    var start = 0
    return counts.map { count in
      defer { start += count }
      return mapped { $1.sliced(axis: 0, start..<start + count).duplicated() }
    }
  }

  /// The states of several batches as that of one; all stand at the same position.
  public static func joined(_ states: [MixerState]) -> MixerState {
    precondition(
      !states.isEmpty && states.allSatisfy { $0.position == states[0].position },
      "MixerState: states at positions \(states.map(\.position)) cannot be joined")
    let parts = states.map { Dictionary(uniqueKeysWithValues: $0.tensors) }
    return states[0].mapped { name, _ in Tensor.concatenated(parts.map { $0[name]! }, axis: 0) }
  }

  /// All tensors, those of parts under "part.name", sorted by name.
  public var tensors: [(name: String, tensor: Tensor)] {
    var all = names.map { (name: $0, tensor: self[$0]) }
    for (part, child) in children.sorted(by: { $0.key < $1.key }) {
      all += child.tensors.map { (name: "\(part).\($0.name)", tensor: $0.tensor) }
    }
    return all
  }
}
