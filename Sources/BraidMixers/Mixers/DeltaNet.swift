import BraidNN
import BraidTensor

/// DeltaNet: a state of keys and values that the delta rule corrects, without decay.
///
///     q, k, v = causal convolution of W h, activated, heads;   q, k normalised
///     β_t = σ(W_b h_t);   S_t = S_{t-1} + β_t k_tᵀ (v_t - k_t S_{t-1});   o_t = q_t S_t / √K    [K, V]
///     out = W_o RMSNorm(o), or W_o (RMSNorm(o) ⊙ SiLU(W_g h))
///
/// h [batch, length, C]. Parameters are laid out and named as in flash-linear-attention.
/// Source: Yang et al., "Parallelizing linear transformers with the delta rule over sequence length", 2024.
public struct DeltaNet: CausalMixer {
  /// What queries and keys pass.
  public enum KeyActivation: String, Codable, Hashable, Sendable {
    case silu, relu
    /// elu(x) + 1
    case elu
    case identity
  }

  /// How queries and keys are normalised over a head's channels.
  public enum KeyNormalization: String, Codable, Hashable, Sendable {
    /// Divided by their Euclidean norm.
    case euclidean
    /// Divided by their sum.
    case sum
  }

  public struct Configuration: Codable, Hashable, Sendable {
    public var channels: Int
    public var heads: Int
    /// K
    public var keyWidth: Int
    /// V
    public var valueWidth: Int
    /// Positions that a convolution sees; nil is no convolution.
    public var kernelSize: Int?
    /// Whether the convolutions have a bias.
    public var bias: Bool
    /// Whether β is learnt; 1 elsewhere.
    public var learnsBeta: Bool
    public var isGated: Bool
    /// Whether β is doubled, so that a state may change its sign.
    public var allowsNegativeEigenvalues: Bool
    public var keyActivation: KeyActivation
    public var keyNormalization: KeyNormalization
    public var normEpsilon: Float

    public init(
      channels: Int, heads: Int, keyWidth: Int, valueWidth: Int, kernelSize: Int? = 4, bias: Bool = false,
      learnsBeta: Bool = true, isGated: Bool = false, allowsNegativeEigenvalues: Bool = false,
      keyActivation: KeyActivation = .silu, keyNormalization: KeyNormalization = .euclidean,
      normEpsilon: Float = 1e-5
    ) {
      self.channels = channels
      self.heads = heads
      self.keyWidth = keyWidth
      self.valueWidth = valueWidth
      self.kernelSize = kernelSize
      self.bias = bias
      self.learnsBeta = learnsBeta
      self.isGated = isGated
      self.allowsNegativeEigenvalues = allowsNegativeEigenvalues
      self.keyActivation = keyActivation
      self.keyNormalization = keyNormalization
      self.normEpsilon = normEpsilon
    }
  }

  public static let name = "deltanet"
  public static let examples = [
    Configuration(channels: 12, heads: 2, keyWidth: 6, valueWidth: 5, isGated: true),
    Configuration(
      channels: 8, heads: 2, keyWidth: 4, valueWidth: 4, kernelSize: 3, bias: true,
      allowsNegativeEigenvalues: true, keyActivation: .identity),
    Configuration(
      channels: 6, heads: 1, keyWidth: 5, valueWidth: 7, kernelSize: nil, learnsBeta: false,
      keyActivation: .elu,
      keyNormalization: .sum),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.channels }
  /// q, k and v.
  let projections: [Linear]
  let convolutions: ShortConvolutions
  let writing: Linear?
  let gate: Linear?
  let norm: Parameter
  let output: Linear

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try MixerError.require(
      min(c.channels, c.heads, c.keyWidth, c.valueWidth, c.kernelSize ?? 1) > 0 && c.normEpsilon >= 0,
      Self.name,
      "\(c.channels) channels, \(c.heads) heads with keys of \(c.keyWidth) and values of \(c.valueWidth), "
        + "kernel \(c.kernelSize ?? 0), norm epsilon \(c.normEpsilon)")
    configuration = c
    let widths = [c.heads * c.keyWidth, c.heads * c.keyWidth, c.heads * c.valueWidth]
    func projection(_ name: String, _ outputs: Int) -> Linear {
      Linear(scope(name), inputs: c.channels, outputs: outputs, bias: false)
    }
    projections = zip(["q", "k", "v"], widths).map { projection("\($0)_proj", $1) }
    convolutions = ShortConvolutions(scope, channels: widths, kernelSize: c.kernelSize, bias: c.bias) {
      $0 == "v" || c.keyActivation == .silu ? .silu : .none
    }
    writing = c.learnsBeta ? projection("b_proj", c.heads) : nil
    gate = c.isGated ? projection("g_proj", widths[2]) : nil
    norm = scope("o_norm").parameter("weight", [c.valueWidth], init: .ones)
    output = Linear(scope("o_proj"), inputs: widths[2], outputs: c.channels, bias: false)
  }

  /// The heads for h = x from what the convolutions have made.
  private func heads(_ convolved: [Tensor], _ x: Tensor) -> DeltaHeads {
    let c = configuration
    func activated(_ x: Tensor) -> Tensor {
      switch c.keyActivation {
      case .silu: c.kernelSize == nil ? x.silu() : x
      case .relu: x.relu()
      case .elu: x.elu() + 1
      case .identity: x
      }
    }
    func keys(_ x: Tensor) -> Tensor {
      let x = activated(x).heads(c.keyWidth)
      return c.keyNormalization == .sum ? x / x.sum(axes: [3], keepingAxes: true) : x.unitNorm()
    }
    let beta = writing?(x, activation: .sigmoid) ?? .ones([x.shape[0], x.shape[1], c.heads])
    let values = c.kernelSize == nil ? convolved[2].silu() : convolved[2]
    return DeltaHeads(
      q: keys(convolved[0]), k: keys(convolved[1]), v: values.heads(c.valueWidth),
      beta: c.allowsNegativeEigenvalues ? beta * 2 : beta)
  }

  private func finished(_ o: Tensor, _ x: Tensor) -> Tensor {
    let normed = o.rmsNorm(weight: norm.value, epsilon: configuration.normEpsilon).joinedHeads()
    return output(gate.map { normed * $0(x, activation: .silu) } ?? normed)
  }

  public func reference(_ x: Tensor) -> Tensor {
    let parts = convolutions.reference(projections.map { $0(x) })
    return finished(heads(parts, x).reference(), x)
  }

  public func initialState(batch: Int) -> MixerState {
    let c = configuration
    var state = MixerState(["delta": .zeros([batch, c.heads, c.keyWidth, c.valueWidth])])
    convolutions.addInitialStates(batch: batch, to: &state)
    return state
  }

  public func prefill(_ x: Tensor, state: inout MixerState) -> Tensor {
    let parts = convolutions(projections.map { $0(x) }, state: &state)
    state.position += x.shape[1]
    return finished(heads(parts, x)(state: &state["delta"]), x)
  }
}
