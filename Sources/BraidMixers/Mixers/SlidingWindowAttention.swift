import BraidNN
import BraidTensor

/// Causal softmax attention to the last positions, the first ones, and learnt ones before them.
///
///     [x_{-m}, ..., x_{-1}] = meta;      q, k, v as in `GroupedQueryAttention`, positions counted from the first meta
///     o_t = Σ_j softmax_j(scale q_t·k_j) v_j     over t - window < j ≤ t and all j < sinkTokens, meta tokens included
///
/// x [batch, length, channels]; `meta_tokens` [m, channels] are inputs of the layer that are learnt. The state is a
/// ring of fixed size, keys and values [batch, m + sinkTokens + window, keyHeads, headWidth]: the first m + sinkTokens
/// rows stay, position p writes row (p - first) mod window of the others.
/// Source: Xiao et al., "Efficient streaming language models with attention sinks", 2024; Dong et al., "Hymba", 2024
/// (meta tokens); Lizard, 2025 (both).
public struct SlidingWindowAttention: CausalMixer {
  public struct Configuration: Codable, Hashable, Sendable {
    public var heads: AttentionHeads
    /// The keys that a query sees besides the first ones, its own included.
    public var window: Int
    /// First positions that every later one sees.
    public var sinkTokens: Int
    /// Learnt positions before the first one.
    public var metaTokens: Int

    public init(_ heads: AttentionHeads, window: Int, sinkTokens: Int = 0, metaTokens: Int = 0) {
      self.heads = heads
      self.window = window
      self.sinkTokens = sinkTokens
      self.metaTokens = metaTokens
    }
  }

  public static let name = "sliding-window-attention"
  public static let examples = [
    Configuration(AttentionHeads(channels: 8, heads: 2, keyHeads: 1), window: 16),
    Configuration(
      AttentionHeads(
        channels: 12, heads: 4, keyHeads: 2, headWidth: 6, rotary: RotaryEmbedding(dimensions: 6),
        norm: .init(.head)),
      window: 30, sinkTokens: 4, metaTokens: 3),
    Configuration(
      AttentionHeads(channels: 8, heads: 2, softCap: 2, learntSinks: true, gated: true), window: 1,
      sinkTokens: 70),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.heads.channels }
  let projections: AttentionProjections
  let meta: Parameter?

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try MixerError.require(
      c.window > 0 && c.sinkTokens >= 0 && c.metaTokens >= 0, Self.name,
      "a window of \(c.window), \(c.sinkTokens) sink tokens, \(c.metaTokens) meta tokens")
    configuration = c
    let inputs = c.heads.inputChannels ?? c.heads.channels
    meta =
      c.metaTokens > 0
      ? scope.parameter("meta_tokens", [c.metaTokens, inputs], init: .truncatedNormal(0.02)) : nil
    projections = try AttentionProjections(scope, c.heads, mixer: Self.name)
  }

  /// Rows of the state that stay.
  private var first: Int { configuration.metaTokens + configuration.sinkTokens }

  public func reference(_ x: Tensor) -> Tensor {
    let metas = configuration.metaTokens
    let all = meta.map {
      Tensor.concatenated([$0.value.broadcast(to: [x.shape[0], metas, x.shape[2]]), x], axis: 1)
    }
    let (q, k, v, gate) = projections.project(all ?? x, from: 0)
    let attended = projections.attendReference(q, k, v) { t in
      (0...t).filter { $0 < first || $0 > t - configuration.window }
    }
    let own = metas..<metas + x.shape[1]
    return projections.finish(
      attended.sliced(axis: 1, own), gate: gate?.sliced(axis: 1, own))
  }

  public func initialState(batch: Int) -> MixerState {
    let (heads, rows) = (configuration.heads, first + configuration.window)
    let empty = Tensor.zeros([batch, rows - configuration.metaTokens, heads.keyHeads, heads.headWidth])
    guard let meta else { return MixerState(["keys": empty, "values": empty]) }
    let (_, k, v, _) = projections.project(meta.value.unsqueezed(0), from: 0)
    func start(_ x: Tensor) -> Tensor {
      let shape = Shape([batch] + x.shape.dimensions.dropFirst())
      return Tensor.concatenated([x.broadcast(to: shape), empty], axis: 1)
    }
    return MixerState(["keys": start(k), "values": start(v)])
  }

  public func prefill(_ x: Tensor, state: inout MixerState) -> Tensor {
    let past = configuration.metaTokens + state.position
    let (q, k, v, gate) = projections.project(x, from: past)
    let keys = absorb(k, "keys", past, &state)
    let values = absorb(v, "values", past, &state)
    state.position += x.shape[1]
    let attended = projections.attend(q, keys, values, window: configuration.window, always: first)
    return projections.finish(attended, gate: gate)
  }

  public func step(_ x: Tensor, state: inout MixerState) -> Tensor {
    let past = configuration.metaTokens + state.position
    let (q, k, v, gate) = projections.project(x, from: past)
    state.replaceRows(at: row(past), with: k, of: "keys")
    state.replaceRows(at: row(past), with: v, of: "values")
    state.position += 1
    // The ring holds what the position sees and nothing else; the order of keys does not matter.
    let filled = 0..<min(past + 1, first + configuration.window)
    let attended = projections.attend(
      q, state["keys"].sliced(axis: 1, filled), state["values"].sliced(axis: 1, filled))
    return projections.finish(attended, gate: gate)
  }

  /// Where a position, counted from the first meta token, stands in the state.
  private func row(_ position: Int) -> Int {
    position < first ? position : first + (position - first) % configuration.window
  }

  /// What the new positions see, in order: the first rows, those before them in the window, and themselves; the state
  /// takes the new rows in.
  private func absorb(_ rows: Tensor, _ name: String, _ past: Int, _ state: inout MixerState) -> Tensor {
    let window = configuration.window
    let old = state[name]
    let (before, after) = (max(first, past - window + 1), past + rows.shape[1])
    var parts = [old.sliced(axis: 1, 0..<min(first, past))]
    if before < past {
      let (from, to) = (row(before), row(past - 1) + 1)
      parts +=
        from < to
        ? [old.sliced(axis: 1, from..<to)]
        : [old.sliced(axis: 1, from..<first + window), old.sliced(axis: 1, first..<to)]
    }
    let seen = Tensor.concatenated(parts + [rows], axis: 1)
    // Position p >= past stands in row p - shift of what is seen; older ones in the ring are not written again.
    let shift = past - (seen.shape[1] - rows.shape[1])
    var (ranges, next) = ([(at: Int, rows: Range<Int>)](), past)
    if next < first {
      ranges.append((next, next..<min(first, after)))
      next = min(first, after)
    }
    next = max(next, after - window)
    while next < after {
      let end = min(after, next + first + window - row(next))
      ranges.append((row(next), next..<end))
      next = end
    }
    for range in ranges {
      let span = range.rows.lowerBound - shift..<range.rows.upperBound - shift
      state.replaceRows(at: range.at, with: seen.sliced(axis: 1, span), of: name)
    }
    return seen
  }
}
