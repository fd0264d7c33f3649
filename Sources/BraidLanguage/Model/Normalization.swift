import BraidNN

/// Root-mean-square normalisation over the channels, as a configuration has it.
public struct Normalization: Codable, Hashable, Sendable {
  public var channels: Int
  public var epsilon: Float
  /// Whether the factor is 1 + weight (Qwen3-Next).
  public var unitOffset: Bool

  public init(channels: Int, epsilon: Float, unitOffset: Bool = false) {
    self.channels = channels
    self.epsilon = epsilon
    self.unitOffset = unitOffset
  }

  /// A norm and the name of its parameters.
  public struct Named: Codable, Hashable, Sendable {
    public var name: String
    public var norm: Normalization

    public init(_ name: String, _ norm: Normalization) {
      self.name = name
      self.norm = norm
    }
  }
}

extension RMSNorm {
  init(_ scope: ParameterScope, _ norm: Normalization) {
    self.init(scope, channels: norm.channels, epsilon: norm.epsilon, offset: norm.unitOffset ? 1 : 0)
  }

  init(_ scope: ParameterScope, _ named: Normalization.Named) { self.init(scope(named.name), named.norm) }
}
