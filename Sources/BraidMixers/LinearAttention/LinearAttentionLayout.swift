import BraidTensor

/// Heads, projections and output of a linear attention.
public struct LinearAttentionLayout: Codable, Hashable, Sendable {
  public var channels: Int
  public var heads: Int
  /// Heads of keys and values; query head h reads head h / (heads / keyHeads).
  public var keyHeads: Int
  /// K, channels of a query or key.
  public var keyWidth: Int
  /// V, channels of a value.
  public var valueWidth: Int
  public var featureMap: KeyFeatureMap
  /// Positions that a convolution with SiLU behind the projections sees; nil is no convolution.
  public var kernelSize: Int?
  /// Whether queries, keys and values are divided by their root mean square, over all heads (ARFlow).
  public var normalizesInputs: Bool
  /// Whether the output is times SiLU(W_g x).
  public var isGated: Bool
  /// Whether a head's output passes an RMS norm.
  public var hasNorm: Bool
  /// Whether that norm has weights.
  public var hasNormWeight: Bool
  public var normEpsilon: Float

  /// - Parameters:
  ///   - keyWidth: channels / heads where nil.
  ///   - valueWidth: channels / heads where nil.
  public init(
    channels: Int, heads: Int, keyHeads: Int? = nil, keyWidth: Int? = nil, valueWidth: Int? = nil,
    featureMap: KeyFeatureMap = .identity, kernelSize: Int? = nil, normalizesInputs: Bool = false,
    isGated: Bool = true, hasNorm: Bool = true, hasNormWeight: Bool = true, normEpsilon: Float = 1e-5
  ) {
    self.channels = channels
    self.heads = heads
    self.keyHeads = keyHeads ?? heads
    self.keyWidth = keyWidth ?? channels / max(1, heads)
    self.valueWidth = valueWidth ?? channels / max(1, heads)
    self.featureMap = featureMap
    self.kernelSize = kernelSize
    self.normalizesInputs = normalizesInputs
    self.isGated = isGated
    self.hasNorm = hasNorm
    self.hasNormWeight = hasNormWeight
    self.normEpsilon = normEpsilon
  }

  /// What products of queries and keys are multiplied by: 1 / sqrt(K).
  var scale: Float { 1 / Float(keyWidth).squareRoot() }

  func validate(for mixer: String) throws {
    try MixerError.require(
      min(channels, heads, keyHeads, keyWidth, valueWidth, kernelSize ?? 1) > 0 && normEpsilon >= 0, mixer,
      "\(channels) channels, \(heads) heads (\(keyHeads) of keys) of \(keyWidth) and \(valueWidth), kernel "
        + "\(kernelSize ?? 0), norm epsilon \(normEpsilon)")
    try MixerError.require(
      heads % keyHeads == 0, mixer, "\(heads) heads do not share \(keyHeads) heads of keys evenly")
  }
}
