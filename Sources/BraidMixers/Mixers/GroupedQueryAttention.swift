import BraidNN
import BraidTensor

/// Causal softmax attention whose query heads share heads of keys and values.
///
///     q, k, v = R_t(norm(W_q x_t)), R_t(norm(W_k x_t)), W_v x_t
///     o_t = Σ_{j ≤ t} softmax_j(scale q_t·k_j) v_j;    y_t = W_o o_t
///
/// x [batch, length, channels]; R_t is the rotary embedding, where there is one. With a window w only the keys of
/// t - w < j ≤ t take part. The state holds the turned keys and the values, [batch, positions, keyHeads, headWidth],
/// and is written in place as it grows. Variants of published models: `AttentionHeads`.
/// Source: Vaswani et al., 2017; Ainslie et al., "GQA", 2023.
public struct GroupedQueryAttention: CausalMixer {
  public struct Configuration: Codable, Hashable, Sendable {
    public var heads: AttentionHeads
    /// The keys that a query sees at most, its own included; all where nil.
    public var window: Int?

    public init(_ heads: AttentionHeads, window: Int? = nil) {
      self.heads = heads
      self.window = window
    }
  }

  public static let name = "grouped-query-attention"
  public static let examples = [
    Configuration(
      AttentionHeads(
        channels: 12, heads: 4, keyHeads: 2, headWidth: 6, rotary: RotaryEmbedding(dimensions: 6))),
    Configuration(
      AttentionHeads(
        channels: 8, heads: 2, keyHeads: 1, headWidth: 8, bias: true,
        rotary: RotaryEmbedding(dimensions: 4, base: 1e6, form: .interleaved),
        norm: .init(.head, unitOffset: true), gated: true)),
    Configuration(
      AttentionHeads(
        channels: 8, heads: 2, norm: .init(.layer), scale: 0.7, keyMultiplier: 0.5, softCap: 3,
        learntSinks: true),
      window: 40),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.heads.channels }
  let projections: AttentionProjections

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try MixerError.require(c.window ?? 1 > 0, Self.name, "a window of \(c.window ?? 0) keys")
    configuration = c
    projections = try AttentionProjections(scope, c.heads, mixer: Self.name)
  }

  public func reference(_ x: Tensor) -> Tensor {
    let (q, k, v, gate) = projections.project(x, from: 0)
    let attended = projections.attendReference(q, k, v) { t in
      Array(max(0, t + 1 - (configuration.window ?? t + 1))...t)
    }
    return projections.finish(attended, gate: gate)
  }

  public func initialState(batch: Int) -> MixerState { projections.emptyCache(batch: batch) }

  public func prefill(_ x: Tensor, state: inout MixerState) -> Tensor { prefill(x, state: &state, use: nil) }

  public func step(_ x: Tensor, state: inout MixerState) -> Tensor { prefill(x, state: &state, use: nil) }

  /// As `prefill`, for one of several uses of the same weights: with the adapters of that number.
  public func prefill(_ x: Tensor, state: inout MixerState, use: Int?) -> Tensor {
    let (q, k, v, gate) = projections.project(x, from: state.position, use: use)
    state.append(k, to: "keys")
    state.append(v, to: "values")
    let attended = projections.attend(q, state["keys"], state["values"], window: configuration.window)
    if let window = configuration.window {
      state.keepLast(window - 1, of: "keys")
      state.keepLast(window - 1, of: "values")
    }
    state.position += x.shape[1]
    return projections.finish(attended, gate: gate)
  }
}
