import BraidNN
import BraidTensor

/// Kimi delta attention: the delta rule with a decay for every channel of the keys.
///
///     q, k, v = SiLU(causal convolution of W h), heads;   q, k divided by their norms
///     β_t = σ(W_b h_t);   g_t = -exp(A_log) softplus(W_f2 W_f1 h_t + dt_bias)          [K] a head
///     S_t = (I - β_t k_tᵀ k_t) diag(exp(g_t)) S_{t-1} + β_t k_tᵀ v_t;   o_t = q_t S_t / √K
///     out = W_o (RMSNorm(o) ⊙ σ(W_g2 W_g1 h))
///
/// h [batch, length, C]; the inner width of both low-rank gates is K. Names as in the published Kimi Linear
/// checkpoints.
/// Source: Kimi team, "Kimi linear: an expressive, efficient attention architecture", 2025.
public struct KimiDeltaAttention: CausalMixer {
  public struct Configuration: Codable, Hashable, Sendable {
    public var channels: Int
    public var heads: Int
    /// K, the channels of a head's queries, keys and values.
    public var headWidth: Int
    /// Positions that a convolution sees.
    public var kernelSize: Int
    public var normEpsilon: Float

    public init(channels: Int, heads: Int, headWidth: Int, kernelSize: Int = 4, normEpsilon: Float = 1e-5) {
      self.channels = channels
      self.heads = heads
      self.headWidth = headWidth
      self.kernelSize = kernelSize
      self.normEpsilon = normEpsilon
    }
  }

  public static let name = "kimi-delta-attention"
  public static let examples = [
    Configuration(channels: 12, heads: 2, headWidth: 8),
    Configuration(channels: 6, heads: 3, headWidth: 5, kernelSize: 2),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.channels }
  /// q, k and v.
  let projections: [Linear]
  let convolutions: ShortConvolutions
  let forget: (down: Linear, up: Linear)
  let logRate: Parameter
  let stepBias: Parameter
  let writing: Linear
  let gate: (down: Linear, up: Linear)
  let norm: Parameter
  let output: Linear

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try MixerError.require(
      min(c.channels, c.heads, c.headWidth, c.kernelSize) > 0 && c.normEpsilon >= 0, Self.name,
      "\(c.channels) channels, \(c.heads) heads of \(c.headWidth), kernel \(c.kernelSize), norm epsilon "
        + "\(c.normEpsilon)")
    configuration = c
    let inner = c.heads * c.headWidth
    func projection(_ name: String, _ inputs: Int, _ outputs: Int) -> Linear {
      Linear(scope(name), inputs: inputs, outputs: outputs, bias: false)
    }
    projections = ["q", "k", "v"].map { projection("\($0)_proj", c.channels, inner) }
    convolutions = ShortConvolutions(scope, channels: [inner, inner, inner], kernelSize: c.kernelSize)
    forget = (projection("f_a_proj", c.channels, c.headWidth), projection("f_b_proj", c.headWidth, inner))
    logRate = scope.parameter("A_log", [1, 1, c.heads, 1], init: .logarithm(of: 1...16))
    stepBias = scope.parameter(
      "dt_bias", [inner], init: .inverseSoftplus(logUniform: 0.001...0.1, floor: 1e-4))
    writing = projection("b_proj", c.channels, c.heads)
    gate = (projection("g_a_proj", c.channels, c.headWidth), projection("g_b_proj", c.headWidth, inner))
    norm = scope("o_norm").parameter("weight", [c.headWidth], init: .ones)
    output = projection("o_proj", inner, c.channels)
  }

  /// The heads for h = x from what the convolutions have made.
  private func heads(_ convolved: [Tensor], _ x: Tensor) -> DeltaHeads {
    let width = configuration.headWidth
    let steps = (forget.up(forget.down(x)) + stepBias.value).softplus()
    var heads = DeltaHeads(
      q: convolved[0].heads(width), k: convolved[1].heads(width), v: convolved[2].heads(width),
      beta: writing(x, activation: .sigmoid), logDecay: steps.heads(width) * logRate.negatedExponential)
    heads.normalizeKeys()
    return heads
  }

  private func finished(_ o: Tensor, _ x: Tensor) -> Tensor {
    let gates = gate.up(gate.down(x), activation: .sigmoid).heads(configuration.headWidth)
    return output((o.rmsNorm(weight: norm.value, epsilon: configuration.normEpsilon) * gates).joinedHeads())
  }

  public func reference(_ x: Tensor) -> Tensor {
    let convolved = convolutions.reference(projections.map { $0(x) })
    return finished(heads(convolved, x).reference(), x)
  }

  public func initialState(batch: Int) -> MixerState {
    let c = configuration
    var state = MixerState(["delta": .zeros([batch, c.heads, c.headWidth, c.headWidth])])
    convolutions.addInitialStates(batch: batch, to: &state)
    return state
  }

  public func prefill(_ x: Tensor, state: inout MixerState) -> Tensor {
    let convolved = convolutions(projections.map { $0(x) }, state: &state)
    state.position += x.shape[1]
    return finished(heads(convolved, x)(state: &state["delta"]), x)
  }
}
