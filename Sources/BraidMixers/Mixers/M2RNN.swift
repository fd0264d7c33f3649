import BraidNN
import BraidTensor

/// M²RNN: a recurrent network whose state is a matrix, with a non-linear step.
///
///     q, k, v = SiLU(causal convolution of W h), heads;   f_t = σ(W_f h_t + b_f)         one number a head
///     S_t = f_t S_{t-1} + (1 - f_t) tanh(S_{t-1} W + k_tᵀ v_t);   o_t = q_t S_t               [K, V]
///     out = W_o (RMSNorm(o) ⊙ SiLU(W_g h))
///
/// h [batch, length, C]; W [V, V] for each head. The recurrence is that of the paper's abstract;
/// convolutions, output gate and norm stand as in the other recurrent mixers here.
/// Source: "M²RNN: non-linear RNNs with matrix-valued states for scalable language modeling", 2026.
public struct M2RNN: CausalMixer {
  public struct Configuration: Codable, Hashable, Sendable {
    public var channels: Int
    public var heads: Int
    /// K
    public var keyWidth: Int
    /// V
    public var valueWidth: Int
    /// Positions that a convolution sees.
    public var kernelSize: Int
    public var normEpsilon: Float

    public init(
      channels: Int, heads: Int, keyWidth: Int, valueWidth: Int, kernelSize: Int = 4,
      normEpsilon: Float = 1e-5
    ) {
      self.channels = channels
      self.heads = heads
      self.keyWidth = keyWidth
      self.valueWidth = valueWidth
      self.kernelSize = kernelSize
      self.normEpsilon = normEpsilon
    }
  }

  public static let name = "m2rnn"
  public static let examples = [
    Configuration(channels: 8, heads: 2, keyWidth: 5, valueWidth: 6),
    Configuration(channels: 6, heads: 1, keyWidth: 4, valueWidth: 4, kernelSize: 1),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.channels }
  /// q, k and v.
  let projections: [Linear]
  let convolutions: ShortConvolutions
  let forget: Linear
  let transition: Parameter
  let gate: Linear
  let norm: Parameter
  let output: Linear

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try MixerError.require(
      min(c.channels, c.heads, c.keyWidth, c.valueWidth, c.kernelSize) > 0 && c.normEpsilon >= 0, Self.name,
      "\(c.channels) channels, \(c.heads) heads with keys of \(c.keyWidth) and values of \(c.valueWidth), "
        + "kernel \(c.kernelSize), norm epsilon \(c.normEpsilon)")
    configuration = c
    let widths = [c.heads * c.keyWidth, c.heads * c.keyWidth, c.heads * c.valueWidth]
    projections = zip(["q", "k", "v"], widths).map {
      Linear(scope("\($0)_proj"), inputs: c.channels, outputs: $1, bias: false)
    }
    convolutions = ShortConvolutions(scope, channels: widths, kernelSize: c.kernelSize)
    // Heads start with memories of about 3 to 150 steps.
    forget = Linear(
      scope("f_proj"), inputs: c.channels, outputs: c.heads, init: .fanIn(c.channels),
      biasInit: .uniform(1...5))
    transition = scope.parameter(
      "transition", [c.heads, c.valueWidth, c.valueWidth], init: .fanIn(c.valueWidth))
    gate = Linear(scope("g_proj"), inputs: c.channels, outputs: widths[2], bias: false)
    norm = scope("o_norm").parameter("weight", [c.valueWidth], init: .ones)
    output = Linear(scope("o_proj"), inputs: widths[2], outputs: c.channels, bias: false)
  }

  private func finished(_ o: Tensor, _ x: Tensor) -> Tensor {
    let normed = o.rmsNorm(weight: norm.value, epsilon: configuration.normEpsilon).joinedHeads()
    return output(normed * gate(x, activation: .silu))
  }

  private func heads(_ convolved: [Tensor]) -> [Tensor] {
    let c = configuration
    return zip(convolved, [c.keyWidth, c.keyWidth, c.valueWidth]).map { $0.heads($1) }
  }

  public func reference(_ x: Tensor) -> Tensor {
    let c = configuration
    let parts = heads(convolutions.reference(projections.map { $0(x) }))
    let forgets = forget(x, activation: .sigmoid)
    var state = Tensor.zeros([x.shape[0], c.heads, c.keyWidth, c.valueWidth])
    let outputs = (0..<x.shape[1]).map { t in
      let f = forgets.selected(axis: 1, t).reshaped(x.shape[0], c.heads, 1, 1)
      let (q, k, v) = (
        parts[0].selected(axis: 1, t), parts[1].selected(axis: 1, t), parts[2].selected(axis: 1, t)
      )
      let candidate = (matmul(state, transition.value) + k.unsqueezed(-1) * v.unsqueezed(2)).tanh()
      state = f * state + (1 - f) * candidate
      return (q.unsqueezed(-1) * state).sum(axes: [2])
    }
    return finished(Tensor.stacked(outputs, axis: 1), x)
  }

  public func initialState(batch: Int) -> MixerState {
    let c = configuration
    var state = MixerState(["matrix": .zeros([batch, c.heads, c.keyWidth, c.valueWidth])])
    convolutions.addInitialStates(batch: batch, to: &state)
    return state
  }

  public func prefill(_ x: Tensor, state: inout MixerState) -> Tensor {
    let parts = heads(convolutions(projections.map { $0(x) }, state: &state))
    let (o, last) = matrixRecurrence(
      parts[0], parts[1], parts[2], forget: forget(x, activation: .sigmoid), transition: transition.value,
      initialState: state["matrix"])
    state["matrix"] = last
    state.position += x.shape[1]
    return finished(o, x)
  }
}
