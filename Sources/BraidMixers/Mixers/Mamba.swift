import BraidNN
import BraidTensor

/// The selective state-space layer of Mamba (S6).
///
///     [x, z] = W_in h;   u = SiLU(causal depthwise convolution of x)            [D]
///     [δ, B, C] = W_x u;   Δ = softplus(W_dt δ + b_dt)                          [R], [N], [N]; [D]
///     s_t = exp(Δ_t A) ⊙ s_{t-1} + (Δ_t ⊙ u_t) B_t;   A = -exp(A_log)           [D, N]
///     y_t = s_t C_t + D ⊙ u_t;   out = W_out (y ⊙ SiLU(z))
///
/// h [batch, length, C]. δ, B and C may pass an RMS norm each: without weights (Falcon Mamba), or with (Jamba).
/// Names as in the published checkpoints of these models.
/// Source: Gu and Dao, "Mamba: linear-time sequence modeling with selective state spaces", 2023, section 3.
public struct Mamba: CausalMixer {
  /// What δ, B and C pass before they are used.
  public enum Normalization: String, Codable, Hashable, Sendable {
    case none
    /// RMS norm without weights (Falcon Mamba).
    case plain
    /// RMS norm with weights dt_layernorm, b_layernorm, c_layernorm (Jamba).
    case learnt
  }

  public struct Configuration: Codable, Hashable, Sendable {
    public var channels: Int
    /// D, the channels of the scan.
    public var innerChannels: Int
    /// N
    public var stateSize: Int
    /// R, the rank of the step size's projection.
    public var stepRank: Int
    /// Positions that the convolution sees.
    public var kernelSize: Int
    /// Whether in_proj and out_proj have a bias.
    public var bias: Bool
    public var convolutionBias: Bool
    public var normalization: Normalization
    public var normEpsilon: Float

    /// - Parameters:
    ///   - innerChannels: 2 channels where nil.
    ///   - stepRank: channels / 16, rounded up, where nil.
    public init(
      channels: Int, innerChannels: Int? = nil, stateSize: Int = 16, stepRank: Int? = nil,
      kernelSize: Int = 4,
      bias: Bool = false, convolutionBias: Bool = true, normalization: Normalization = .none,
      normEpsilon: Float = 1e-6
    ) {
      self.channels = channels
      self.innerChannels = innerChannels ?? 2 * channels
      self.stateSize = stateSize
      self.stepRank = stepRank ?? (channels + 15) / 16
      self.kernelSize = kernelSize
      self.bias = bias
      self.convolutionBias = convolutionBias
      self.normalization = normalization
      self.normEpsilon = normEpsilon
    }

    func validate(for mixer: String) throws {
      try MixerError.require(
        min(channels, innerChannels, stateSize, stepRank, kernelSize) > 0 && normEpsilon >= 0, mixer,
        "\(channels) channels, \(innerChannels) in the scan, \(stateSize) states, step rank \(stepRank), "
          + "kernel \(kernelSize), norm epsilon \(normEpsilon)")
    }
  }

  public static let name = "mamba"
  public static let examples = [
    Configuration(channels: 12, stateSize: 8),
    Configuration(
      channels: 8, innerChannels: 12, stateSize: 5, stepRank: 3, kernelSize: 3, bias: true,
      convolutionBias: false, normalization: .plain),
    Configuration(channels: 6, stateSize: 4, stepRank: 2, kernelSize: 1, normalization: .learnt),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.channels }
  let input: Linear
  let branch: SelectiveBranch
  let output: Linear

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try c.validate(for: Self.name)
    configuration = c
    input = Linear(scope("in_proj"), inputs: c.channels, outputs: 2 * c.innerChannels, bias: c.bias)
    branch = SelectiveBranch(scope, c)
    output = Linear(scope("out_proj"), inputs: c.innerChannels, outputs: c.channels, bias: c.bias)
  }

  public func reference(_ x: Tensor) -> Tensor {
    let parts = input(x).split(into: 2, axis: -1)
    return output(branch.reference(parts[0], gate: parts[1]))
  }

  public func initialState(batch: Int) -> MixerState { branch.initialState(batch: batch) }

  public func prefill(_ x: Tensor, state: inout MixerState) -> Tensor {
    let parts = input(x).split(into: 2, axis: -1)
    state.position += x.shape[1]
    return output(branch(parts[0], gate: parts[1], state: &state))
  }
}
