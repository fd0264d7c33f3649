import BraidNN
import BraidTensor

/// Gated linear recurrence with an expanded state, whose keys are what its gates forget (HGRN2).
///
///     q = SiLU(W_q h);   f = β + (1 - β) σ(W_f h);   v = W_i h, heads
///     S_t = diag(f_t) S_{t-1} + (1 - f_t)ᵀ v_t;   o_t = q_t S_t / √K                         [K, V] a head
///     out = W_o RMSNorm(o)
///
/// h [batch, length, C]; β is the layer's lower bound; the norm runs over all heads. Parameters are laid out and named
/// as in flash-linear-attention.
/// Source: Qin et al., "HGRN2: gated linear RNNs with state expansion", 2024.
public struct HGRN2: CausalMixer {
  public struct Configuration: Codable, Hashable, Sendable {
    public var channels: Int
    public var heads: Int
    /// K, the expansion.
    public var keyWidth: Int
    /// Positions that a convolution behind the projections sees (it has no activation); nil is no convolution.
    public var kernelSize: Int?
    /// β, at least 0 and below 1.
    public var lowerBound: Float
    public var normEpsilon: Float

    /// - Parameter heads: channels / keyWidth where nil.
    public init(
      channels: Int, heads: Int? = nil, keyWidth: Int = 128, kernelSize: Int? = nil, lowerBound: Float = 0,
      normEpsilon: Float = 1e-5
    ) {
      self.channels = channels
      self.heads = heads ?? channels / max(1, keyWidth)
      self.keyWidth = keyWidth
      self.kernelSize = kernelSize
      self.lowerBound = lowerBound
      self.normEpsilon = normEpsilon
    }

    var valueWidth: Int { channels / heads }
    var scale: Float { 1 / Float(keyWidth).squareRoot() }
  }

  public static let name = "hgrn2"
  public static let examples = [
    Configuration(channels: 12, keyWidth: 6),
    Configuration(channels: 6, heads: 3, keyWidth: 5, lowerBound: 0.7),
    Configuration(channels: 8, heads: 2, keyWidth: 4, kernelSize: 3, lowerBound: 0.2),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.channels }
  /// Of q, f and v.
  let projections: [Linear]
  let convolutions: ShortConvolutions
  let norm: Parameter
  let output: Linear

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try MixerError.require(
      min(c.channels, c.heads, c.keyWidth, c.kernelSize ?? 1) > 0 && c.channels % c.heads == 0
        && (0..<1).contains(c.lowerBound) && c.normEpsilon >= 0, Self.name,
      "\(c.channels) channels, \(c.heads) heads with keys of \(c.keyWidth), kernel \(c.kernelSize ?? 0), lower bound "
        + "\(c.lowerBound), norm epsilon \(c.normEpsilon)")
    configuration = c
    let widths = [c.heads * c.keyWidth, c.heads * c.keyWidth, c.channels]
    projections = zip(["q", "f", "i"], widths).map {
      Linear(scope("\($0)_proj"), inputs: c.channels, outputs: $1, bias: false)
    }
    convolutions = ShortConvolutions(
      scope, ["q", "f", "i"], channels: widths, kernelSize: c.kernelSize, activation: { _ in .none })
    norm = scope("g_norm").parameter("weight", [c.channels], init: .ones)
    output = Linear(scope("o_proj"), inputs: c.channels, outputs: c.channels, bias: false)
  }

  /// (q, k, v, g) from what the convolutions have made.
  private func heads(_ parts: [Tensor]) -> (q: Tensor, k: Tensor, v: Tensor, logDecay: Tensor) {
    let c = configuration
    func heads(_ x: Tensor, _ width: Int) -> Tensor { x.reshaped(x.shape[0], x.shape[1], c.heads, width) }
    let forget = heads(parts[1], c.keyWidth)
    let free = 1 - c.lowerBound
    let logDecay = c.lowerBound == 0 ? forget.logSigmoid() : (forget.sigmoid() * free + c.lowerBound).log()
    return (
      heads(parts[0], c.keyWidth).silu(), (-forget).sigmoid() * free, heads(parts[2], c.valueWidth), logDecay
    )
  }

  private func finished(_ o: Tensor) -> Tensor {
    let joined = o.reshaped(o.shape[0], o.shape[1], -1)
    return output(joined.rmsNorm(weight: norm.value, epsilon: configuration.normEpsilon))
  }

  public func reference(_ x: Tensor) -> Tensor {
    let parts = convolutions.reference(projections.map { $0(x) })
    let (q, k, v, g) = heads(parts)
    return finished(literalLinearAttention(q, k, v, logDecay: g, scale: configuration.scale))
  }

  public func initialState(batch: Int) -> MixerState {
    let c = configuration
    var state = MixerState(["attention": .zeros([batch, c.heads, c.keyWidth, c.valueWidth])])
    convolutions.addInitialStates(batch: batch, to: &state)
    return state
  }

  public func prefill(_ x: Tensor, state: inout MixerState) -> Tensor {
    let parts = convolutions(projections.map { $0(x) }, state: &state)
    let (q, k, v, g) = heads(parts)
    let (o, last) = gatedLinearAttention(
      q, k, v, logDecay: g, scale: configuration.scale, initialState: state["attention"])
    state["attention"] = last
    state.position += x.shape[1]
    return finished(o)
  }
}
