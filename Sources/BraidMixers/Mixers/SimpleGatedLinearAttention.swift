import BraidNN
import BraidTensor

/// Linear attention with a learnt decay a head and position (simple GLA, gated retention).
///
///     q, k, v = SiLU(causal convolution of W h), heads;   g_t = log σ(W_γ h_t) / 16         [H]
///     S_t = exp(g_t) S_{t-1} + k_tᵀ v_t;   o_t = q_t S_t / √K                                [K, V] a head
///     out = W_o (RMSNorm(o) ⊙ SiLU(W_g h))
///
/// h [batch, length, C]. Parameters are laid out and named as in flash-linear-attention. With normalised inputs, no
/// convolution and no weights of the norm it is the gated retention of ARFlow (which adds its condition to h first).
/// Source: Yang et al., "Gated linear attention transformers with hardware-efficient training", 2024; Sun et al.,
/// "You only cache once", 2024, section 3.2; Hui et al., "ARFlow", 2025.
public struct SimpleGatedLinearAttention: CausalMixer {
  public struct Configuration: Codable, Hashable, Sendable {
    public var layout: LinearAttentionLayout
    /// What the logarithm of the decay is divided by.
    public var gateNormalizer: Float
    public var gateBias: Bool

    public init(layout: LinearAttentionLayout, gateNormalizer: Float = 16, gateBias: Bool = true) {
      self.layout = layout
      self.gateNormalizer = gateNormalizer
      self.gateBias = gateBias
    }
  }

  public static let name = "simple-gla"
  public static let examples = [
    Configuration(layout: LinearAttentionLayout(channels: 12, heads: 2, kernelSize: 4)),
    Configuration(
      layout: LinearAttentionLayout(
        channels: 8, heads: 2, keyWidth: 5, valueWidth: 7, normalizesInputs: true, hasNormWeight: false),
      gateNormalizer: 2, gateBias: false),
    Configuration(
      layout: LinearAttentionLayout(
        channels: 6, heads: 4, keyHeads: 2, keyWidth: 3, valueWidth: 4, featureMap: .softmax, isGated: false),
      gateNormalizer: 0.5),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.layout.channels }
  let heads: LinearAttentionHeads
  let forget: Linear

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try c.layout.validate(for: Self.name)
    try MixerError.require(c.gateNormalizer > 0, Self.name, "gate normalizer \(c.gateNormalizer)")
    configuration = c
    heads = LinearAttentionHeads(scope, c.layout)
    forget = Linear(scope("gk_proj"), inputs: c.layout.channels, outputs: c.layout.heads, bias: c.gateBias)
  }

  /// g [B, L, H].
  private func logDecay(_ x: Tensor) -> Tensor { forget(x).logSigmoid() * (1 / configuration.gateNormalizer) }

  public func reference(_ x: Tensor) -> Tensor {
    let parts = heads.reference(x)
    let o = literalLinearAttention(
      parts.q, parts.k, parts.v, logDecay: logDecay(x).unsqueezed(-1), scale: configuration.layout.scale)
    return heads.finished(o, x)
  }

  public func initialState(batch: Int) -> MixerState { heads.initialState(batch: batch) }

  public func prefill(_ x: Tensor, state: inout MixerState) -> Tensor {
    let parts = heads(x, state: &state)
    let (o, last) = decayedLinearAttention(
      parts.q, parts.k, parts.v, logDecay: logDecay(x), scale: configuration.layout.scale,
      initialState: state["attention"])
    state["attention"] = last
    state.position += x.shape[1]
    return heads.finished(o, x)
  }
}

extension Tensor {
  /// log σ(x) of every element.
  func logSigmoid() -> Tensor { -(-self).softplus() }
}
