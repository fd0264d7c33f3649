import BraidNN
import BraidTensor

/// Gated DeltaNet: the delta rule with one decay a head, between short convolutions and a gated norm.
///
///     q, k, v = SiLU(causal convolution of W h), heads;   q, k divided by their norms
///     β_t = σ(W_b h_t);   g_t = -exp(A_log) softplus(W_a h_t + dt_bias)               one number a head
///     S_t = (I - β_t k_tᵀ k_t) exp(g_t) S_{t-1} + β_t k_tᵀ v_t;   o_t = q_t S_t / √K   [K, V]
///     out = W_o (RMSNorm(o) ⊙ SiLU(W_z h))
///
/// h [batch, length, C]. Two published layouts: that of Qwen3-Next (joined projections, interleaved by key
/// head, and one convolution) and that of OLMo Hybrid (and flash-linear-attention), with a projection and a
/// convolution for each part.
/// Source: Yang, Kautz and Hatamizadeh, "Gated delta networks: improving Mamba2 with delta rule", 2025.
public struct GatedDeltaNet: CausalMixer {
  /// How the parameters are laid out and named.
  public enum Layout: String, Codable, Hashable, Sendable {
    /// in_proj_qkvz and in_proj_ba, rows in groups of a key head; conv1d, norm, out_proj (Qwen3-Next).
    case joined
    /// {q,k,v,a,b,g}_proj, {q,k,v}_conv1d, o_norm, o_proj (OLMo Hybrid).
    case separate
  }

  public struct Configuration: Codable, Hashable, Sendable {
    public var channels: Int
    public var keyHeads: Int
    /// A multiple of `keyHeads`.
    public var valueHeads: Int
    /// K
    public var keyWidth: Int
    /// V
    public var valueWidth: Int
    /// Positions that a convolution sees.
    public var kernelSize: Int
    public var layout: Layout
    /// Whether β is doubled, so that a state may change its sign.
    public var allowsNegativeEigenvalues: Bool
    /// Of the norm before the gate; OLMo Hybrid has 1e-5 whatever its other norms have.
    public var normEpsilon: Float

    public init(
      channels: Int, keyHeads: Int, valueHeads: Int, keyWidth: Int, valueWidth: Int, kernelSize: Int = 4,
      layout: Layout, allowsNegativeEigenvalues: Bool = false, normEpsilon: Float = 1e-6
    ) {
      self.channels = channels
      self.keyHeads = keyHeads
      self.valueHeads = valueHeads
      self.keyWidth = keyWidth
      self.valueWidth = valueWidth
      self.kernelSize = kernelSize
      self.layout = layout
      self.allowsNegativeEigenvalues = allowsNegativeEigenvalues
      self.normEpsilon = normEpsilon
    }
  }

  public static let name = "gated-deltanet"
  public static let examples = [
    Configuration(
      channels: 12, keyHeads: 2, valueHeads: 4, keyWidth: 6, valueWidth: 5, layout: .joined),
    Configuration(
      channels: 10, keyHeads: 2, valueHeads: 2, keyWidth: 5, valueWidth: 8, kernelSize: 3, layout: .separate,
      allowsNegativeEigenvalues: true, normEpsilon: 1e-5),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.channels }
  /// qkvz and ba, or q, k, v, z, b and a.
  let projections: [Linear]
  /// One over all of q, k and v, or one for each.
  let convolutions: ShortConvolutions
  let logRate: Parameter
  let stepBias: Parameter
  let norm: Parameter
  let output: Linear

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try MixerError.require(
      min(c.channels, c.keyHeads, c.valueHeads, c.keyWidth, c.valueWidth, c.kernelSize) > 0
        && c.valueHeads % c.keyHeads == 0 && c.normEpsilon >= 0, Self.name,
      "\(c.channels) channels, \(c.keyHeads) key heads of \(c.keyWidth), \(c.valueHeads) value heads of "
        + "\(c.valueWidth), kernel \(c.kernelSize), norm epsilon \(c.normEpsilon)")
    configuration = c
    let (keys, values) = (c.keyHeads * c.keyWidth, c.valueHeads * c.valueWidth)
    func projection(_ name: String, _ outputs: Int) -> Linear {
      Linear(scope(name), inputs: c.channels, outputs: outputs, bias: false)
    }
    switch c.layout {
    case .joined:
      projections = [
        projection("in_proj_qkvz", 2 * (keys + values)), projection("in_proj_ba", 2 * c.valueHeads),
      ]
      convolutions = ShortConvolutions(scope, channels: 2 * keys + values, kernelSize: c.kernelSize)
    case .separate:
      projections = [
        projection("q_proj", keys), projection("k_proj", keys), projection("v_proj", values),
        projection("g_proj", values), projection("b_proj", c.valueHeads), projection("a_proj", c.valueHeads),
      ]
      convolutions = ShortConvolutions(scope, channels: [keys, keys, values], kernelSize: c.kernelSize)
    }
    let joined = c.layout == .joined
    logRate = scope.parameter(
      "A_log", [c.valueHeads], init: .logarithm(of: joined ? 0.01...16 : 1e-4...16))
    stepBias = scope.parameter(
      "dt_bias", [c.valueHeads],
      init: joined ? .ones : .inverseSoftplus(logUniform: 0.001...0.1, floor: 1e-4))
    norm = scope(joined ? "norm" : "o_norm").parameter("weight", [c.valueWidth], init: .ones)
    output = Linear(
      scope(joined ? "out_proj" : "o_proj"), inputs: values, outputs: c.channels, bias: false)
  }

  /// What the convolutions read, z [B, L, H, V], and b and a [B, L, H].
  private func projected(_ x: Tensor) -> (mixed: [Tensor], z: Tensor, b: Tensor, a: Tensor) {
    let c = configuration
    guard c.layout == .joined else {
      let parts = projections.map { $0(x) }
      return (Array(parts[0..<3]), parts[3].heads(c.valueWidth), parts[4], parts[5])
    }
    let group = c.valueHeads / c.keyHeads
    let (batch, length) = (x.shape[0], x.shape[1])
    let parts = projections[0](x).reshaped(batch, length, c.keyHeads, -1).split(
      [c.keyWidth, c.keyWidth, group * c.valueWidth, group * c.valueWidth], axis: 3)
    let gates = projections[1](x).reshaped(batch, length, c.keyHeads, 2 * group).split(into: 2, axis: 3)
    return (
      [Tensor.concatenated(parts[0..<3].map { $0.joinedHeads() }, axis: 2)],
      parts[3].reshaped(batch, length, c.valueHeads, c.valueWidth), gates[0].joinedHeads(),
      gates[1].joinedHeads()
    )
  }

  /// The heads from what the convolutions have made and the gates' inputs.
  private func heads(_ mixed: [Tensor], b: Tensor, a: Tensor) -> DeltaHeads {
    let c = configuration
    let keys = c.keyHeads * c.keyWidth
    let parts =
      mixed.count == 3 ? mixed : mixed[0].split([keys, keys, c.valueHeads * c.valueWidth], axis: 2)
    let beta = b.sigmoid()
    var heads = DeltaHeads(
      q: parts[0].heads(c.keyWidth), k: parts[1].heads(c.keyWidth), v: parts[2].heads(c.valueWidth),
      beta: c.allowsNegativeEigenvalues ? beta * 2 : beta,
      logDecay: (a + stepBias.value).softplus() * logRate.negatedExponential)
    heads.normalizeKeys()
    return heads
  }

  private func finished(_ o: Tensor, gate z: Tensor) -> Tensor {
    output(
      (o.rmsNorm(weight: norm.value, epsilon: configuration.normEpsilon) * z.silu()).joinedHeads())
  }

  public func reference(_ x: Tensor) -> Tensor {
    let (mixed, z, b, a) = projected(x)
    let convolved = convolutions.reference(mixed)
    return finished(heads(convolved, b: b, a: a).reference(), gate: z)
  }

  public func initialState(batch: Int) -> MixerState {
    let c = configuration
    var state = MixerState(["delta": .zeros([batch, c.valueHeads, c.keyWidth, c.valueWidth])])
    convolutions.addInitialStates(batch: batch, to: &state)
    return state
  }

  public func prefill(_ x: Tensor, state: inout MixerState) -> Tensor {
    let (mixed, z, b, a) = projected(x)
    let convolved = convolutions(mixed, state: &state)
    state.position += x.shape[1]
    return finished(heads(convolved, b: b, a: a)(state: &state["delta"]), gate: z)
  }
}
