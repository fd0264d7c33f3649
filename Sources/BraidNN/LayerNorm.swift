import BraidTensor

/// Normalisation of the last axis to mean 0 and variance 1, then scale and shift.
public struct LayerNorm: Sendable {
  public let weight: Parameter
  public let bias: Parameter
  public let epsilon: Float

  public init(_ scope: ParameterScope, channels: Int, epsilon: Float = 1e-5) {
    weight = scope.parameter("weight", [channels], init: .ones)
    bias = scope.parameter("bias", [channels], init: .zeros)
    self.epsilon = epsilon
  }

  public func callAsFunction(_ x: Tensor) -> Tensor {
    x.layerNorm(weight: weight.value, bias: bias.value, epsilon: epsilon)
  }
}
