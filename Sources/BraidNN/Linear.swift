import BraidTensor

/// y = activation(x Wᵀ + b) over the last axis; weight [outputs, inputs], as PyTorch stores it.
public struct Linear: Sendable {
  public let weight: Parameter
  public let bias: Parameter?

  public init(
    _ scope: ParameterScope, inputs: Int, outputs: Int, bias: Bool = true,
    init initializer: Initializer? = nil, biasInit: Initializer? = nil
  ) {
    weight = scope.parameter("weight", [outputs, inputs], init: initializer ?? .fanIn(inputs))
    let start = biasInit ?? (initializer == nil ? .fanIn(inputs) : .zeros)
    self.bias = bias ? scope.parameter("bias", [outputs], init: start) : nil
  }

  /// [..., inputs] to [..., outputs]; the residual, of the output's shape, is added last.
  public func callAsFunction(_ x: Tensor, activation: Activation = .none, residual: Tensor? = nil) -> Tensor {
    linear(x, weight.value, bias: bias?.value, activation: activation, residual: residual)
  }
}
