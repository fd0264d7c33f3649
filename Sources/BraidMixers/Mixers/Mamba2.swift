import BraidNN
import BraidTensor

/// The state-space layer of Mamba-2 (SSD): one decay a head.
///
///     [z, xBC, δ] = μ ⊙ W_in (m h);   [x, B, C] = SiLU(causal depthwise convolution of xBC)
///     Δ = clamp(softplus(δ + b_dt));   A = -exp(A_log)                                        [H]
///     S_t = exp(Δ_t A) S_{t-1} + B_tᵀ (Δ_t x_t);   y_t = C_t S_t + D x_t                      [N, P] a head
///     out = W_out norm(y ⊙ SiLU(z))
///
/// h [batch, length, C]; x has H heads of P channels, B and C have G groups of N states, each for H / G neighbouring
/// heads; the RMS norm runs over each group's channels. Names as in the published checkpoints of Mamba-2, Bamba,
/// Granite 4, Nemotron-H, Zamba2 and Falcon-H1 (whose multipliers are m and μ).
/// Source: Dao and Gu, "Transformers are SSMs", 2024.
public struct Mamba2: CausalMixer {
  public enum Normalization: String, Codable, Hashable, Sendable {
    /// norm(y ⊙ SiLU(z)).
    case afterGate
    /// norm(y) ⊙ SiLU(z) (mamba_norm_before_gate).
    case beforeGate
    /// y ⊙ SiLU(z), without a norm.
    case none
  }

  public struct Configuration: Codable, Hashable, Sendable {
    public var channels: Int
    /// H
    public var heads: Int
    /// P, channels of a head.
    public var headSize: Int
    /// N
    public var stateSize: Int
    /// G, groups of heads that share B and C.
    public var groups: Int
    /// Positions that the convolution sees.
    public var kernelSize: Int
    /// Whether in_proj has a bias.
    public var bias: Bool
    /// Whether out_proj has a bias.
    public var outputBias: Bool
    public var convolutionBias: Bool
    /// The least Δ (time_step_limit).
    public var leastStep: Float
    /// The greatest Δ; nil: no limit.
    public var greatestStep: Float?
    public var normalization: Normalization
    public var normEpsilon: Float
    /// m, multiplies the input (ssm_in_multiplier).
    public var inputMultiplier: Float
    /// μ: multipliers of z, x, B, C and δ behind in_proj (ssm_multipliers); nil: ones.
    public var multipliers: [Float]?

    /// - Parameter heads: 2 channels / headSize where nil.
    public init(
      channels: Int, heads: Int? = nil, headSize: Int = 64, stateSize: Int = 128, groups: Int = 1,
      kernelSize: Int = 4, bias: Bool = false, outputBias: Bool? = nil, convolutionBias: Bool = true,
      leastStep: Float = 0, greatestStep: Float? = nil, normalization: Normalization = .afterGate,
      normEpsilon: Float = 1e-5, inputMultiplier: Float = 1, multipliers: [Float]? = nil
    ) {
      self.channels = channels
      self.heads = heads ?? 2 * channels / max(1, headSize)
      self.headSize = headSize
      self.stateSize = stateSize
      self.groups = groups
      self.kernelSize = kernelSize
      self.bias = bias
      self.outputBias = outputBias ?? bias
      self.convolutionBias = convolutionBias
      self.leastStep = leastStep
      self.greatestStep = greatestStep
      self.normalization = normalization
      self.normEpsilon = normEpsilon
      self.inputMultiplier = inputMultiplier
      self.multipliers = multipliers
    }

    /// Channels of x, y and z.
    public var innerChannels: Int { heads * headSize }
    /// Channels of the convolution: x, B and C.
    public var convolutionChannels: Int { innerChannels + 2 * groups * stateSize }
    /// The sizes of z, xBC and δ.
    var parts: [Int] { [innerChannels, convolutionChannels, heads] }

    func validate() throws {
      try MixerError.require(
        min(channels, heads, headSize, stateSize, groups, kernelSize) > 0 && normEpsilon >= 0, Mamba2.name,
        "\(channels) channels, \(heads) heads of \(headSize), \(stateSize) states in \(groups) groups, kernel "
          + "\(kernelSize), norm epsilon \(normEpsilon)")
      try MixerError.require(
        heads % groups == 0, Mamba2.name, "\(heads) heads do not fall into \(groups) groups")
      try MixerError.require(
        leastStep >= 0 && (greatestStep ?? .infinity) >= leastStep, Mamba2.name,
        "steps from \(leastStep) to \(greatestStep.map { "\($0)" } ?? "any")")
      try MixerError.require(
        multipliers.map { $0.count == 5 } ?? true, Mamba2.name,
        "\(multipliers?.count ?? 0) multipliers, not one each for z, x, B, C and the step")
    }
  }

  public static let name = "mamba2"
  public static let examples = [
    Configuration(channels: 12, headSize: 8, stateSize: 16),
    Configuration(
      channels: 10, heads: 4, headSize: 5, stateSize: 7, groups: 2, kernelSize: 3, bias: true,
      convolutionBias: false, leastStep: 1e-4, greatestStep: 2, normalization: .beforeGate),
    Configuration(
      channels: 8, heads: 3, headSize: 6, stateSize: 5, kernelSize: 1, outputBias: true, normalization: .none,
      inputMultiplier: 0.5, multipliers: [0.7, 1.3, 0.4, 1.1, 0.9]),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.channels }
  let input: Linear
  let kernel: Parameter
  let kernelBias: Parameter?
  let logDecay: Parameter
  let stepBias: Parameter
  let skip: Parameter
  let norm: Parameter?
  let output: Linear
  /// μ for every channel of in_proj's output.
  let multipliers: Tensor?

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try c.validate()
    configuration = c
    input = Linear(scope("in_proj"), inputs: c.channels, outputs: c.parts.reduce(0, +), bias: c.bias)
    kernel = scope("conv1d").parameter(
      "weight", [c.convolutionChannels, 1, c.kernelSize], init: .fanIn(c.kernelSize))
    kernelBias =
      c.convolutionBias
      ? scope("conv1d").parameter("bias", [c.convolutionChannels], init: .fanIn(c.kernelSize)) : nil
    logDecay = scope.parameter("A_log", [c.heads], init: .logarithmsOfStateIndex)
    stepBias = scope.parameter(
      "dt_bias", [c.heads], init: .inverseSoftplus(logUniform: 0.001...0.1, floor: 1e-4))
    skip = scope.parameter("D", [c.heads], init: .ones)
    norm =
      c.normalization == .none ? nil : scope("norm").parameter("weight", [c.innerChannels], init: .ones)
    output = Linear(scope("out_proj"), inputs: c.innerChannels, outputs: c.channels, bias: c.outputBias)
    let (inner, states) = (c.innerChannels, c.groups * c.stateSize)
    multipliers = c.multipliers.map { factors in
      Tensor(
        zip(factors, [inner, inner, states, states, c.heads]).flatMap { [Float](repeating: $0, count: $1) })
    }
  }

  /// (z, xBC before the convolution, δ) of x.
  private func projected(_ x: Tensor) -> [Tensor] {
    let c = configuration
    var y = input(c.inputMultiplier == 1 ? x : x * c.inputMultiplier)
    if let multipliers { y = y * multipliers }
    return y.split(c.parts, axis: -1)
  }

  /// x [..., H, P], B and C [..., G, N] of the convolution's output.
  private func separated(_ u: Tensor) -> (x: Tensor, b: Tensor, c: Tensor) {
    let c = configuration
    let parts = u.split([c.innerChannels, c.groups * c.stateSize, c.groups * c.stateSize], axis: -1)
    return (
      parts[0].withLastAxisSplit(width: c.headSize), parts[1].withLastAxisSplit(width: c.stateSize),
      parts[2].withLastAxisSplit(width: c.stateSize)
    )
  }

  /// Δ of δ.
  private func steps(_ x: Tensor) -> Tensor {
    let c = configuration
    let steps = (x + stepBias.value).softplus()
    if c.leastStep == 0 && c.greatestStep == nil { return steps }
    return steps.clamped(c.leastStep, c.greatestStep ?? .greatestFiniteMagnitude)
  }

  /// W_out of y [..., H, P], gated by z and normalised.
  private func finished(_ y: Tensor, gate z: Tensor) -> Tensor {
    let c = configuration
    var y = y.reshaped(z.shape)
    if c.normalization != .beforeGate { y = y * z.silu() }
    if let norm {
      let grouped = Shape(z.shape.dimensions.dropLast() + [c.groups, c.innerChannels / c.groups])
      y =
        c.groups == 1
        ? y.rmsNorm(weight: norm.value, epsilon: c.normEpsilon)
        : y.reshaped(grouped).rmsNorm(epsilon: c.normEpsilon).reshaped(z.shape) * norm.value
    }
    if c.normalization == .beforeGate { y = y * z.silu() }
    return output(y)
  }

  public func reference(_ x: Tensor) -> Tensor {
    let c = configuration
    let parts = projected(x)
    let padded = parts[1].padded(axis: 1, before: c.kernelSize - 1)
    let taps = (0..<c.kernelSize).map { kernel.value.selected(axis: 2, $0).squeezed(-1) }
    let decay = -logDecay.value.exp()
    let perGroup = c.heads / c.groups
    var state = Tensor.zeros([x.shape[0], c.heads, c.stateSize, c.headSize])
    /// [batch, G, N] to [batch, H, N].
    func perHead(_ x: Tensor) -> Tensor {
      x.unsqueezed(2).broadcast(to: [x.shape[0], c.groups, perGroup, c.stateSize])
        .reshaped(x.shape[0], c.heads, c.stateSize)
    }
    let outputs = (0..<x.shape[1]).map { t in
      var sum = kernelBias?.value ?? .zeros([c.convolutionChannels])
      for i in 0..<c.kernelSize { sum = sum + padded.selected(axis: 1, t + i) * taps[i] }
      let (x, b, q) = separated(sum.silu())
      let step = steps(parts[2].selected(axis: 1, t))
      let driven = perHead(b).unsqueezed(-1) * (step.unsqueezed(-1) * x).unsqueezed(2)
      state = (step * decay).exp().unsqueezed(-1).unsqueezed(-1) * state + driven
      return (perHead(q).unsqueezed(-1) * state).sum(axes: [2]) + skip.value.unsqueezed(-1) * x
    }
    return finished(Tensor.stacked(outputs, axis: 1), gate: parts[0])
  }

  public func initialState(batch: Int) -> MixerState {
    let c = configuration
    return MixerState([
      "convolution": .zeros([batch, c.kernelSize - 1, c.convolutionChannels]),
      "scan": .zeros([batch, c.heads, c.stateSize, c.headSize]),
    ])
  }

  public func prefill(_ x: Tensor, state: inout MixerState) -> Tensor {
    let parts = projected(x)
    let (u, past) = causalConv1d(
      parts[1], kernel.value, bias: kernelBias?.value, state: state["convolution"], activation: .silu)
    let (x, b, c) = separated(u)
    let steps = steps(parts[2])
    let (y, last) = decayedLinearAttention(
      c, b, x * steps.unsqueezed(-1), logDecay: steps * logDecay.negatedExponential,
      initialState: state["scan"])
    state["convolution"] = past
    state["scan"] = last
    state.position += steps.shape[1]
    guard let norm, configuration.normalization == .afterGate else {
      return finished(y + x * skip.value.unsqueezed(-1), gate: parts[0])
    }
    let gate = parts[0], heads = configuration.heads
    let perChannel = skip.value.unsqueezed(-1).broadcast(to: [heads, configuration.headSize]).reshaped(-1)
    return output(
      gatedRMSNorm(
        y.reshaped(gate.shape), x: u.sliced(axis: -1, 0..<gate.shape[-1]), skip: perChannel, gate: gate,
        weight: norm.value,
        groups: configuration.groups, epsilon: configuration.normEpsilon))
  }
}
