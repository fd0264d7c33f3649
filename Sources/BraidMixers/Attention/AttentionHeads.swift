import BraidTensor

/// The heads of a softmax attention layer: widths, projections, and what happens to queries, keys and scores.
///
/// Shared by the configurations of all mixers whose heads attend; the variants are those of published models.
public struct AttentionHeads: Codable, Hashable, Sendable {
  /// Root-mean-square normalisation of queries and keys.
  public struct QueryKeyNorm: Codable, Hashable, Sendable {
    /// What is normalised: every head by itself (LFM2, Qwen 3), or all of a position together (OLMo).
    public enum Extent: String, Codable, Sendable { case head, layer }
    public var extent: Extent
    public var epsilon: Float
    /// Whether the factor is 1 + weight (Qwen3-Next).
    public var unitOffset: Bool

    public init(_ extent: Extent = .head, epsilon: Float = 1e-6, unitOffset: Bool = false) {
      self.extent = extent
      self.epsilon = epsilon
      self.unitOffset = unitOffset
    }
  }

  /// Low-rank terms added to the projections of queries, keys and values, one for each use of shared weights (Zamba2).
  public struct Adapters: Codable, Hashable, Sendable {
    public var rank: Int
    /// The numbers that the uses have in the parameters' names.
    public var uses: [Int]

    public init(rank: Int, uses: [Int]) {
      self.rank = rank
      self.uses = uses
    }
  }

  /// The names of the parameters.
  public enum Layout: String, Codable, Sendable {
    /// q_proj, k_proj, v_proj, o_proj, q_norm, k_norm, as in Llama and most others.
    case standard
    /// out_proj, q_layernorm, k_layernorm for the last three.
    case lfm2
  }

  /// The channels of the output, and of the input where `inputChannels` is nil.
  public var channels: Int
  public var inputChannels: Int?
  public var heads: Int
  /// Heads of keys and values; query head h reads key head h / (heads / keyHeads).
  public var keyHeads: Int
  public var headWidth: Int
  /// Biases of the projections of queries, keys and values, and of the output.
  public var bias: Bool
  public var outputBias: Bool
  public var rotary: RotaryEmbedding?
  public var norm: QueryKeyNorm?
  /// What scores are multiplied by; 1 / sqrt(headWidth) where nil.
  public var scale: Float?
  /// What keys are multiplied by before they turn (Falcon-H1).
  public var keyMultiplier: Float?
  /// Scores s become softCap tanh(s / softCap) (Gemma 2).
  public var softCap: Float?
  /// Whether every head has a learnt score that takes part in the softmax without a value (gpt-oss): `sinks`.
  public var learntSinks: Bool
  /// Whether the projection of queries holds, head by head, a gate too: the output is times its sigmoid (Qwen3-Next).
  public var gated: Bool
  public var adapters: Adapters?
  public var layout: Layout

  public init(
    channels: Int, heads: Int, keyHeads: Int? = nil, headWidth: Int? = nil, inputChannels: Int? = nil,
    bias: Bool = false, outputBias: Bool? = nil, rotary: RotaryEmbedding? = nil, norm: QueryKeyNorm? = nil,
    scale: Float? = nil, keyMultiplier: Float? = nil, softCap: Float? = nil, learntSinks: Bool = false,
    gated: Bool = false, adapters: Adapters? = nil, layout: Layout = .standard
  ) {
    self.channels = channels
    self.inputChannels = inputChannels
    self.heads = heads
    self.keyHeads = keyHeads ?? heads
    self.headWidth = headWidth ?? channels / max(heads, 1)
    self.bias = bias
    self.outputBias = outputBias ?? bias
    self.rotary = rotary
    self.norm = norm
    self.scale = scale
    self.keyMultiplier = keyMultiplier
    self.softCap = softCap
    self.learntSinks = learntSinks
    self.gated = gated
    self.adapters = adapters
    self.layout = layout
  }

  /// What scores are multiplied by.
  var scoreScale: Float { scale ?? 1 / Float(headWidth).squareRoot() }

  /// - Throws: `MixerError.configuration` where the numbers contradict each other.
  func validate(_ mixer: String) throws(MixerError) {
    try MixerError.require(
      channels > 0 && inputChannels ?? 1 > 0 && heads > 0 && keyHeads > 0 && headWidth > 0
        && heads % keyHeads == 0, mixer,
      "\(channels) channels, \(heads) heads, \(keyHeads) key heads of width \(headWidth)")
    if let problem = rotary?.problem(headWidth: headWidth) {
      throw .configuration(mixer: mixer, reason: problem)
    }
    try MixerError.require(softCap ?? 1 > 0, mixer, "a soft cap of \(softCap ?? 0)")
    try MixerError.require(scale?.isFinite ?? true, mixer, "a scale of \(scale ?? 0)")
    try MixerError.require(
      adapters.map { $0.rank > 0 && Set($0.uses).count == $0.uses.count } ?? true, mixer,
      "adapters of rank \(adapters?.rank ?? 0) for the uses \(adapters?.uses ?? [])")
  }
}
