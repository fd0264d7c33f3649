import BraidNN
import BraidTensor

/// Linear attention with the second-order Taylor series of the softmax's exponential (BASED).
///
///     q, k, v = W h, heads;   φ(x) = [1, x / d^¼, (x_i²/ √2, x_i x_j for i < j) / √d]
///     S_t = S_{t-1} + φ(k_t)ᵀ v_t;   z_t = z_{t-1} + φ(k_t);   o_t = φ(q_t) S_t / (φ(q_t) z_t + ε);   out = W_o o
///
/// h [batch, length, C], d the width of a query; φ(q) · φ(k) = 1 + s + s²/2 with s = q · k / √d. Names as in
/// flash-linear-attention.
/// Source: Arora et al., "Simple linear attention language models balance the recall-throughput tradeoff", 2024.
public struct Based: CausalMixer {
  public struct Configuration: Codable, Hashable, Sendable {
    public var channels: Int
    public var heads: Int
    /// d
    public var featureSize: Int
    /// ε
    public var epsilon: Float

    public init(channels: Int, heads: Int, featureSize: Int = 16, epsilon: Float = 1e-6) {
      self.channels = channels
      self.heads = heads
      self.featureSize = featureSize
      self.epsilon = epsilon
    }

    /// The layout of the projections.
    var layout: LinearAttentionLayout {
      LinearAttentionLayout(
        channels: channels, heads: heads, keyWidth: featureSize, isGated: false, hasNorm: false)
    }
    /// Components of φ.
    var features: Int { 1 + featureSize + featureSize * (featureSize + 1) / 2 }
  }

  public static let name = "based"
  public static let examples = [
    Configuration(channels: 12, heads: 2, featureSize: 4),
    Configuration(channels: 6, heads: 1, featureSize: 1),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.channels }
  let heads: LinearAttentionHeads
  /// i and j of the products x_i x_j with i < j.
  let pairs: [Tensor]

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try MixerError.require(
      min(c.channels, c.heads, c.featureSize) > 0 && c.channels % max(1, c.heads) == 0 && c.epsilon >= 0,
      Self.name,
      "\(c.channels) channels, \(c.heads) heads with features of \(c.featureSize), epsilon \(c.epsilon)")
    configuration = c
    heads = LinearAttentionHeads(scope, c.layout)
    let all = (0..<c.featureSize).flatMap { i in (i + 1..<max(i + 1, c.featureSize)).map { (i, $0) } }
    pairs = [
      Tensor(all.map { Int32($0.0) }, shape: [all.count]),
      Tensor(all.map { Int32($0.1) }, shape: [all.count]),
    ]
  }

  /// φ of x [B, L, H, d].
  private func features(_ x: Tensor) -> Tensor {
    let root = Float(configuration.featureSize).squareRoot()
    let ones = Tensor.ones(Shape(x.shape.dimensions.dropLast() + [1]))
    var parts = [ones, x * (1 / root.squareRoot()), x.squared() * (Float(0.5).squareRoot() / root)]
    if pairs[0].elementCount > 0 {
      parts.append(x.indexSelected(axis: 3, pairs[0]) * x.indexSelected(axis: 3, pairs[1]) * (1 / root))
    }
    return Tensor.concatenated(parts, axis: 3)
  }

  /// Values with a one behind them, which sums the weights.
  private func counted(_ v: Tensor) -> Tensor {
    Tensor.concatenated([v, .ones(Shape(v.shape.dimensions.dropLast() + [1]))], axis: 3)
  }

  /// The layer's output from sums [B, L, H, V + 1].
  private func finished(_ sums: Tensor, _ x: Tensor) -> Tensor {
    let parts = sums.split([sums.shape[3] - 1, 1], axis: 3)
    return heads.finished(parts[0] / (parts[1] + configuration.epsilon), x)
  }

  public func reference(_ x: Tensor) -> Tensor {
    let parts = heads.reference(x)
    return finished(
      literalLinearAttention(features(parts.q), features(parts.k), counted(parts.v), logDecay: nil, scale: 1),
      x)
  }

  public func initialState(batch: Int) -> MixerState {
    heads.initialState(
      batch: batch, keys: configuration.features, values: configuration.layout.valueWidth + 1)
  }

  public func prefill(_ x: Tensor, state: inout MixerState) -> Tensor {
    let parts = heads(x, state: &state)
    let (sums, last) = decayedLinearAttention(
      features(parts.q), features(parts.k), counted(parts.v), initialState: state["attention"])
    state["attention"] = last
    state.position += x.shape[1]
    return finished(sums, x)
  }
}
