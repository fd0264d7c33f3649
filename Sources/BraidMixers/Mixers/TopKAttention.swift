import BraidNN
import BraidTensor

/// Causal softmax attention where some heads see everything and choose the keys that the others attend to.
///
///     retrieving key head r:  p_tj = Σ_{h of r} softmax_j(scale q_{t,h}·k_{j,r}),    I_{t,r} = the `kept` j ≤ t of largest p_tj
///     other key head g:       o_{t,h} = Σ_{j in I_{t,r(g)}} softmax_j(scale q_{t,h}·k_{j,g}) v_{j,g}
///
/// x [batch, length, channels]; r(g) is the last retrieving head before g, or the first of all. Heads that retrieve
/// attend to every key. Choices go from head to head (LycheeDecode) and from layer to layer (HyLRA): `prefill` takes
/// the choices of a layer before, and a layer none of whose heads retrieve lives on them.
/// The state holds all keys and values. Routes are noted by `RouteBook`.
/// Source: LycheeDecode, 2026; HyLRA, 2026 (equations as stated there; no code was public).
public struct TopKAttention: CausalMixer {
  public struct Configuration: Codable, Hashable, Sendable {
    public var heads: AttentionHeads
    /// Keys that a head which does not retrieve attends to at most.
    public var kept: Int
    /// The key heads that retrieve, rising; all of them where nil.
    public var retrieving: [Int]?

    public init(_ heads: AttentionHeads, kept: Int, retrieving: [Int]? = nil) {
      self.heads = heads
      self.kept = kept
      self.retrieving = retrieving
    }
  }

  /// The choices of a layer: int32 [B, L, keyHeads, kept], positions of keys, -1 for none.
  public typealias Choices = Tensor

  public static let name = "top-k-attention"
  public static let examples = [
    Configuration(
      AttentionHeads(
        channels: 12, heads: 6, keyHeads: 3, headWidth: 4, rotary: RotaryEmbedding(dimensions: 4)),
      kept: 9, retrieving: [1]),
    Configuration(AttentionHeads(channels: 8, heads: 4, keyHeads: 2), kept: 5),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.heads.channels }
  let projections: AttentionProjections
  /// The key heads that retrieve.
  private let retrieving: [Int]

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    let retrieving = c.retrieving ?? Array(0..<max(0, c.heads.keyHeads))
    try MixerError.require(
      c.kept > 0 && retrieving.allSatisfy { (0..<c.heads.keyHeads).contains($0) }
        && zip(retrieving, retrieving.dropFirst()).allSatisfy { $0 < $1 }, Self.name,
      "\(c.kept) kept keys, heads \(retrieving) of \(c.heads.keyHeads) retrieve")
    configuration = c
    self.retrieving = retrieving
    projections = try AttentionProjections(scope, c.heads, mixer: Self.name)
  }

  public func reference(_ x: Tensor) -> Tensor {
    let c = configuration
    let (q, k, v, gate) = projections.project(x, from: 0)
    let choices = choices(q, k, from: 0).elements(as: Int32.self)
    let (length, group) = (x.shape[1], c.heads.heads / c.heads.keyHeads)
    let outputs = (0..<x.shape[0]).map { item in
      let parts = (0..<c.heads.keyHeads).map { head in
        func own(_ x: Tensor, _ heads: Range<Int>) -> Tensor {
          x.sliced(axis: 0, item..<item + 1).sliced(axis: 2, heads)
        }
        let heads = head * group..<(head + 1) * group
        return AttentionReference.attend(
          own(q, heads), own(k, head..<head + 1), own(v, head..<head + 1), scale: c.heads.scoreScale,
          softCap: c.heads.softCap, sinks: projections.sinks?.value.sliced(axis: 0, heads)
        ) { t in
          if retrieving.contains(head) { return Array(0...t) }
          let row = ((item * length + t) * c.heads.keyHeads + head) * c.kept
          return choices[row..<row + c.kept].filter { $0 >= 0 }.map(Int.init).sorted()
        }
      }
      return Tensor.concatenated(parts, axis: 2)
    }
    return projections.finish(Tensor.concatenated(outputs, axis: 0), gate: gate)
  }

  public func initialState(batch: Int) -> MixerState { projections.emptyCache(batch: batch) }

  public func prefill(_ x: Tensor, state: inout MixerState) -> Tensor {
    prefill(x, state: &state, choices: nil).output
  }

  /// As `prefill`, on the choices of a layer before where there are some; with the choices for the layers after.
  ///
  /// Heads that retrieve choose anew; the others take the choices of the layer before, their own head's.
  public func prefill(_ x: Tensor, state: inout MixerState, choices given: Choices?) -> (
    output: Tensor, choices: Choices
  ) {
    let heads = configuration.heads
    let past = state.position
    let (q, k, v, gate) = projections.project(x, from: past)
    state.append(k, to: "keys")
    state.append(v, to: "values")
    state.position += x.shape[1]
    let (keys, values) = (state["keys"], state["values"])
    let choices = choices(q, keys, from: past, given: given)
    let group = heads.heads / heads.keyHeads
    // Runs of heads of one kind.
    var parts: [Tensor] = []
    var head = 0
    while head < heads.keyHeads {
      let retrieves = retrieving.contains(head)
      var end = head + 1
      while end < heads.keyHeads && retrieving.contains(end) == retrieves { end += 1 }
      let queryHeads = head * group..<end * group
      let own = q.sliced(axis: 2, queryHeads)
      let (k, v) = (keys.sliced(axis: 2, head..<end), values.sliced(axis: 2, head..<end))
      let sinks = projections.sinks?.value.sliced(axis: 0, queryHeads)
      parts.append(
        retrieves
          ? scaledDotProductAttention(
            own, k, v, causal: true, scale: heads.scoreScale, softCap: heads.softCap, sinks: sinks)
          : blockSparseAttention(
            own, k, v,
            selection: BlockSelection(
              blocks: choices.sliced(axis: 2, head..<end), queryBlock: 1, keyBlock: 1),
            causal: true, scale: heads.scoreScale, softCap: heads.softCap, sinks: sinks))
      head = end
    }
    let attended = parts.count == 1 ? parts[0] : Tensor.concatenated(parts, axis: 2)
    return (projections.finish(attended, gate: gate), choices)
  }

  private func choices(_ queries: Tensor, _ keys: Tensor, from position: Int, given: Tensor? = nil) -> Tensor
  {
    RouteBook.route(projections.path, from: position, count: queries.shape[1]) {
      withoutGradient { choose(queries.detached, keys.detached, from: position, given: given) }
    }
  }

  private func choose(_ queries: Tensor, _ keys: Tensor, from position: Int, given: Tensor?) -> Tensor {
    let c = configuration
    let (batch, length, keyHeads, kept) = (queries.shape[0], queries.shape[1], c.heads.keyHeads, c.kept)
    precondition(
      given.map { $0.shape == [batch, length, keyHeads, kept] } ?? true,
      "\(Self.name): choices of \(given?.shape ?? []) for \([batch, length, keyHeads, kept])")
    // Where nothing is given and no head retrieves, the first one chooses.
    let retrieving = given == nil && self.retrieving.isEmpty ? [0] : self.retrieving
    // The head whose choice a head takes; nil where it takes that of the layer before.
    let source = (0..<keyHeads).map { head -> Int? in
      if retrieving.contains(head) { return head }
      return given == nil ? retrieving.last { $0 < head } ?? retrieving[0] : nil
    }
    let taken = given?.elements(as: Int32.self)
    let result = Tensor.uninitialized([batch, length, keyHeads, kept], dtype: .int32)
    let group = c.heads.heads / keyHeads
    result.overwrite(as: Int32.self) { out in
      if let taken { for i in taken.indices { out[i] = taken[i] } }
      // Some queries at a time, so that memory does not grow with the square of the length.
      for from in stride(from: 0, to: length, by: 64) {
        let rows = from..<min(length, from + 64)
        let seen = position + rows.upperBound
        for head in retrieving {
          let q = queries.sliced(axis: 1, rows).sliced(axis: 2, head * group..<(head + 1) * group)
            .permuted(0, 2, 1, 3)
          let k = keys.sliced(axis: 1, 0..<seen).selected(axis: 2, head).transposed(1, 2).unsqueezed(1)
          let scores = matmul(q, k) * c.heads.scoreScale  // [B, group, rows, seen]
          scores.read { scores in
            parallelFor(batch * rows.count) { task in
              let (item, row) = task.quotientAndRemainder(dividingBy: rows.count)
              let t = from + row
              let place = (item * length + t) * keyHeads
              let count = position + t + 1
              withUnsafeTemporaryAllocation(of: Float.self, capacity: count) { sums in
                let sums = sums.baseAddress!
                sums.update(repeating: 0, count: count)
                for member in 0..<group {
                  let line = scores + ((item * group + member) * rows.count + row) * seen
                  LargestScores.addSoftmax(line, count, to: sums)
                }
                LargestScores.write(sums, count, count: kept, offset: 0, to: out + (place + head) * kept)
              }
              for other in 0..<keyHeads where other != head && source[other] == head {
                (out + (place + other) * kept).update(from: out + (place + head) * kept, count: kept)
              }
            }
          }
        }
      }
    }
    return result
  }
}
