import BraidTensor

/// x / sqrt(mean(x^2) + epsilon) * (offset + weight) over the last axis (Zhang and Sennrich, 2019).
///
/// The offset is 0, or 1 where a model stores the weight's difference from 1 (Gemma, Qwen3-Next).
public struct RMSNorm: Sendable {
  public let weight: Parameter
  public let epsilon: Float
  public let offset: Float

  public init(
    _ scope: ParameterScope, channels: Int, epsilon: Float = 1e-5, offset: Float = 0, name: String = "weight"
  ) {
    weight = scope.parameter(name, [channels], init: .constant(1 - offset))
    self.epsilon = epsilon
    self.offset = offset
  }

  /// [..., channels] to the same shape.
  public func callAsFunction(_ x: Tensor) -> Tensor {
    let scale = weight.value
    return x.rmsNorm(weight: offset == 0 ? scale : scale + offset, epsilon: epsilon)
  }
}
