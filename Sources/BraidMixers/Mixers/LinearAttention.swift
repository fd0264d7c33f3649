import BraidNN
import BraidTensor

/// Linear attention without decay.
///
///     q, k = φ(W h), v = W_v h, heads
///     S_t = S_{t-1} + k_tᵀ v_t;   z_t = z_{t-1} + k_t;   o_t = q_t S_t, or q_t S_t / (q_t z_t + ε)     [K, V] a head
///     out = W_o RMSNorm(o)
///
/// h [batch, length, C]; unless normalised by z, o is times 1 / √K. Names as in flash-linear-attention.
/// Source: Katharopoulos et al., "Transformers are RNNs: fast autoregressive transformers with linear attention", 2020.
public struct LinearAttention: CausalMixer {
  public struct Configuration: Codable, Hashable, Sendable {
    public var layout: LinearAttentionLayout
    /// Whether outputs are divided by the sums of their weights.
    public var normalizesWeights: Bool
    /// Whether the features of queries, and of keys, are divided by their sums.
    public var normalizesQueries: Bool
    public var normalizesKeys: Bool

    public init(
      layout: LinearAttentionLayout, normalizesWeights: Bool = false, normalizesQueries: Bool = false,
      normalizesKeys: Bool = false
    ) {
      self.layout = layout
      self.normalizesWeights = normalizesWeights
      self.normalizesQueries = normalizesQueries
      self.normalizesKeys = normalizesKeys
    }
  }

  public static let name = "linear-attention"
  public static let examples = [
    Configuration(
      layout: LinearAttentionLayout(channels: 12, heads: 2, featureMap: .elu, isGated: false),
      normalizesWeights: true),
    Configuration(
      layout: LinearAttentionLayout(
        channels: 8, heads: 4, keyHeads: 2, keyWidth: 3, valueWidth: 5, featureMap: .softmax, isGated: false,
        hasNorm: false)),
    Configuration(
      layout: LinearAttentionLayout(
        channels: 6, heads: 2, keyWidth: 4, featureMap: .elu, isGated: true),
      normalizesQueries: true, normalizesKeys: true),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.layout.channels }
  let heads: LinearAttentionHeads

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try c.layout.validate(for: Self.name)
    configuration = c
    heads = LinearAttentionHeads(scope, c.layout, normName: "norm")
  }

  /// ε of the division by the weights' sum.
  private static let epsilon: Float = 1e-10

  /// Queries and keys divided by their sums where asked for, values with a one behind them where weights are summed.
  private func prepared(_ parts: LinearAttentionHeads.Parts) -> LinearAttentionHeads.Parts {
    let c = configuration
    var parts = parts
    func divided(_ x: Tensor) -> Tensor { x / (x.sum(axes: [3], keepingAxes: true) + 1e-4) }
    if c.normalizesQueries { parts.q = divided(parts.q) }
    if c.normalizesKeys { parts.k = divided(parts.k) }
    if c.normalizesWeights {
      let ones = Tensor.ones(Shape(parts.v.shape.dimensions.dropLast() + [1]))
      parts.v = Tensor.concatenated([parts.v, ones], axis: 3)
    }
    return parts
  }

  private func finished(_ sums: Tensor, _ x: Tensor) -> Tensor {
    guard configuration.normalizesWeights else { return heads.finished(sums, x) }
    let parts = sums.split([sums.shape[3] - 1, 1], axis: 3)
    return heads.finished(parts[0] / (parts[1] + Self.epsilon), x)
  }

  public func reference(_ x: Tensor) -> Tensor {
    let parts = prepared(heads.reference(x))
    return finished(
      literalLinearAttention(parts.q, parts.k, parts.v, logDecay: nil, scale: configuration.layout.scale), x)
  }

  public func initialState(batch: Int) -> MixerState {
    let c = configuration
    return heads.initialState(batch: batch, values: c.layout.valueWidth + (c.normalizesWeights ? 1 : 0))
  }

  public func prefill(_ x: Tensor, state: inout MixerState) -> Tensor {
    let parts = prepared(heads(x, state: &state))
    let (sums, last) = decayedLinearAttention(
      parts.q, parts.k, parts.v, scale: configuration.layout.scale, initialState: state["attention"])
    state["attention"] = last
    state.position += x.shape[1]
    return finished(sums, x)
  }
}
