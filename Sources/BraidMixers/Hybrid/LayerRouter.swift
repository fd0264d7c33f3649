import BraidNN
import BraidTensor

/// Attention of a whole layer that is full or sparse, as a router decides from the first tokens.
///
///     p = softmax(MLP(mean over the first `context` queries and all heads) / τ);   r = 1 where p_1 > p_0, else 0
///     o_t = full_t for t < context;   r full_t + (1 - r) sparse_t after
///
/// full is causal attention, sparse sees the last `window` keys and the first `sinkTokens`. x [batch, length, channels];
/// every item of a batch has a route of its own. The published router pools the ends of the whole prompt; here it
/// pools its beginning, so that the route depends on no later token and outputs do not depend on how a text is cut.
/// While the router learns, `soft` mixes by p_1 in the place of r, so that gradients reach it.
/// The router's parameters are named as published: `mask_allocator.cls_feat_extractor`, `.cls_router_head_agnostic`.
/// Source: Flux Attention, 2026 (layer-wise router between full and streaming attention).
public struct LayerRouter: CausalMixer {
  public struct Configuration: Codable, Hashable, Sendable {
    public var heads: AttentionHeads
    /// Positions that the router looks at.
    public var context: Int
    public var window: Int
    public var sinkTokens: Int
    /// τ
    public var temperature: Float
    /// Whether outputs are mixed, for learning.
    public var soft: Bool

    public init(
      _ heads: AttentionHeads, context: Int = 100, window: Int, sinkTokens: Int = 0, temperature: Float = 0.3,
      soft: Bool = false
    ) {
      self.heads = heads
      self.context = context
      self.window = window
      self.sinkTokens = sinkTokens
      self.temperature = temperature
      self.soft = soft
    }
  }

  public static let name = "layer-router"
  public static let examples = [
    Configuration(
      AttentionHeads(channels: 12, heads: 4, keyHeads: 2, headWidth: 6, rotary: .init(dimensions: 6)),
      context: 12,
      window: 9, sinkTokens: 2, soft: true),
    Configuration(AttentionHeads(channels: 8, heads: 2), context: 5, window: 4),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.heads.channels }
  let projections: AttentionProjections
  private let features: [Linear]
  private let head: [Linear]

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try MixerError.require(
      c.context > 0 && c.window > 0 && c.sinkTokens >= 0 && c.temperature > 0, Self.name,
      "context \(c.context), window \(c.window), \(c.sinkTokens) sink tokens, temperature \(c.temperature)")
    configuration = c
    projections = try AttentionProjections(scope, c.heads, mixer: Self.name)
    let (router, d) = (scope("mask_allocator"), c.heads.headWidth)
    features = [
      Linear(router("cls_feat_extractor.0"), inputs: d, outputs: 8 * d),
      Linear(router("cls_feat_extractor.2"), inputs: 8 * d, outputs: 2 * d),
    ]
    // The last layer starts at 0 and 4.5: full attention wherever the router has not learnt otherwise.
    head = [
      Linear(router("cls_router_head_agnostic.0"), inputs: 2 * d, outputs: 4 * d),
      Linear(router("cls_router_head_agnostic.2"), inputs: 4 * d, outputs: d),
      Linear(
        router("cls_router_head_agnostic.4"), inputs: d, outputs: 2, init: .zeros,
        biasInit: .custom { _, _ in Tensor([0, 4.5] as [Float]) }),
    ]
  }

  /// The share of full attention [B, 1] for pooled queries [B, head width].
  private func route(_ pooled: Tensor) -> Tensor {
    let f = features[1](features[0](pooled, activation: .silu))
    let logits = head[2](head[1](head[0](f, activation: .silu), activation: .silu))
    let p = (logits * (1 / configuration.temperature)).softmax().sliced(axis: -1, 1..<2)
    return configuration.soft ? p : p.detached.greater(Tensor(0.5)).cast(to: .float32)
  }

  public func reference(_ x: Tensor) -> Tensor {
    let c = configuration
    let (q, k, v, gate) = projections.project(x, from: 0)
    let full = projections.attendReference(q, k, v) { Array(0...$0) }
    let sparse = projections.attendReference(q, k, v) { t in
      (0...t).filter { $0 < c.sinkTokens || $0 > t - c.window }
    }
    guard x.shape[1] > c.context else { return projections.finish(full, gate: gate) }
    let pooled = q.sliced(axis: 1, 0..<c.context).mean(axes: [1, 2])
    let r = route(pooled).reshaped(x.shape[0], 1, 1, 1)
    let outputs = (0..<x.shape[1]).map { t in
      let (f, s) = (full.sliced(axis: 1, t..<t + 1), sparse.sliced(axis: 1, t..<t + 1))
      return t < c.context ? f : f * r + s * (1 - r)
    }
    return projections.finish(Tensor.concatenated(outputs, axis: 1), gate: gate)
  }

  public func initialState(batch: Int) -> MixerState {
    let heads = configuration.heads
    let empty = Tensor.zeros([batch, 0, heads.keyHeads, heads.headWidth])
    return MixerState([
      "keys": empty, "values": empty, "pooled": .zeros([batch, heads.headWidth]), "route": .ones([batch, 1]),
    ])
  }

  public func prefill(_ x: Tensor, state: inout MixerState) -> Tensor {
    let c = configuration
    let (q, k, v, gate) = projections.project(x, from: state.position)
    let early = min(x.shape[1], max(0, c.context - state.position))
    var outputs: [Tensor] = []
    for range in [0..<early, early..<x.shape[1]] where !range.isEmpty {
      let queries = q.sliced(axis: 1, range)
      state.append(k.sliced(axis: 1, range), to: "keys")
      state.append(v.sliced(axis: 1, range), to: "values")
      if range.lowerBound < early {
        state["pooled"] = state["pooled"] + queries.mean(axes: [2]).sum(axes: [1]) * (1 / Float(c.context))
        outputs.append(projections.attend(queries, state["keys"], state["values"]))
      } else {
        outputs.append(routed(queries, state))
      }
      state.position += range.count
      if range.lowerBound < early && state.position == c.context { state["route"] = route(state["pooled"]) }
    }
    let attended = outputs.count == 1 ? outputs[0] : Tensor.concatenated(outputs, axis: 1)
    return projections.finish(attended, gate: gate)
  }

  private func routed(_ q: Tensor, _ state: MixerState) -> Tensor {
    let (keys, values, route) = (state["keys"], state["values"], state["route"])
    func full() -> Tensor { projections.attend(q, keys, values) }
    func sparse() -> Tensor {
      projections.attend(
        q, keys, values, window: configuration.window, always: configuration.sinkTokens)
    }
    if !configuration.soft && !route.requiresGradient {
      // Only what is asked for is computed.
      let shares = route.floats
      if shares.allSatisfy({ $0 == 1 }) { return full() }
      if shares.allSatisfy({ $0 == 0 }) { return sparse() }
    }
    let r = route.reshaped(q.shape[0], 1, 1, 1)
    return full() * r + sparse() * (1 - r)
  }
}
