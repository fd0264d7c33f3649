import BraidNN
import BraidTensor

/// Linear attention with a learnt decay for every key channel (GLA).
///
///     q, k, v = W h, heads;   g_t = max(log σ(W_2 W_1 h_t + b) / 16, lowest)                 [H, K]
///     S_t = diag(exp(g_t)) S_{t-1} + k_tᵀ v_t;   o_t = q_t S_t / √K                          [K, V] a head
///     out = W_o (RMSNorm(o) ⊙ SiLU(W_g h))
///
/// h [batch, length, C]. Parameters are laid out and named as in flash-linear-attention. Gates can be made of the
/// keys instead, without parameters: g_t = log σ(k_t) / 16 (Liger, with softmax features; SpikingBrain has learnt
/// gates and ReLU features).
/// Source: Yang et al., "Gated linear attention transformers with hardware-efficient training", 2024; Lan et al.,
/// "Liger: linearizing large language models to gated recurrent structures", 2025.
public struct GatedLinearAttention: CausalMixer {
  public struct Configuration: Codable, Hashable, Sendable {
    public var layout: LinearAttentionLayout
    /// The rank of the gate's projection; nil: gates are made of the keys.
    public var gateRank: Int?
    /// What the logarithm of the decay is divided by.
    public var gateNormalizer: Float
    /// The least g; nil: no limit.
    public var leastLogDecay: Float?

    public init(
      layout: LinearAttentionLayout, gateRank: Int? = 16, gateNormalizer: Float = 16,
      leastLogDecay: Float? = nil
    ) {
      self.layout = layout
      self.gateRank = gateRank
      self.gateNormalizer = gateNormalizer
      self.leastLogDecay = leastLogDecay
    }
  }

  public static let name = "gla"
  public static let examples = [
    Configuration(layout: LinearAttentionLayout(channels: 12, heads: 2, keyWidth: 3)),
    Configuration(
      layout: LinearAttentionLayout(
        channels: 8, heads: 4, keyHeads: 2, keyWidth: 5, valueWidth: 3, featureMap: .softmax, isGated: false),
      gateRank: nil, gateNormalizer: 1),
    Configuration(
      layout: LinearAttentionLayout(
        channels: 8, heads: 2, keyWidth: 6, valueWidth: 5, featureMap: .relu, kernelSize: 3),
      gateRank: 3, gateNormalizer: 0.2, leastLogDecay: -5),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.layout.channels }
  let heads: LinearAttentionHeads
  /// W_1 and W_2.
  let forget: [Linear]

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try c.layout.validate(for: Self.name)
    try MixerError.require(
      c.gateNormalizer > 0 && (c.gateRank ?? 1) > 0, Self.name,
      "gate normalizer \(c.gateNormalizer), rank \(c.gateRank ?? 0)")
    configuration = c
    heads = LinearAttentionHeads(scope, c.layout)
    forget =
      c.gateRank.map { rank in
        [
          Linear(scope("gk_proj")(0), inputs: c.layout.channels, outputs: rank, bias: false),
          Linear(scope("gk_proj")(1), inputs: rank, outputs: c.layout.keyHeads * c.layout.keyWidth),
        ]
      } ?? []
  }

  /// g [B, L, H, K].
  private func logDecay(_ x: Tensor, _ parts: LinearAttentionHeads.Parts) -> Tensor {
    let c = configuration
    let logits =
      forget.isEmpty ? parts.plainKeys : heads.perHead(forget[1](forget[0](x)), c.layout.keyWidth)
    let g = logits.logSigmoid() * (1 / c.gateNormalizer)
    return c.leastLogDecay.map { g.clamped($0, 0) } ?? g
  }

  public func reference(_ x: Tensor) -> Tensor {
    let parts = heads.reference(x)
    let o = literalLinearAttention(
      parts.q, parts.k, parts.v, logDecay: logDecay(x, parts), scale: configuration.layout.scale)
    return heads.finished(o, x)
  }

  public func initialState(batch: Int) -> MixerState { heads.initialState(batch: batch) }

  public func prefill(_ x: Tensor, state: inout MixerState) -> Tensor {
    let parts = heads(x, state: &state)
    let (o, last) = gatedLinearAttention(
      parts.q, parts.k, parts.v, logDecay: logDecay(x, parts), scale: configuration.layout.scale,
      initialState: state["attention"])
    state["attention"] = last
    state.position += x.shape[1]
    return heads.finished(o, x)
  }
}
