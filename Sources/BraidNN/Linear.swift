import BraidTensor

/// y = activation(x Wᵀ + b) over the last axis; weight [outputs, inputs], as PyTorch stores it.
public struct Linear: Sendable {
  public let weight: Parameter
  public let bias: Parameter?

  /// - Parameter keepsPrecision: whether the weight is never held in few bits (a router's, say).
  public init(
    _ scope: ParameterScope, inputs: Int, outputs: Int, bias: Bool = true,
    init initializer: Initializer? = nil, biasInit: Initializer? = nil, keepsPrecision: Bool = false
  ) {
    let start = initializer ?? .fanIn(inputs)
    weight =
      keepsPrecision
      ? scope.parameter("weight", [outputs, inputs], init: start)
      : scope.factor("weight", [outputs, inputs], init: start)
    let biasStart = biasInit ?? (initializer == nil ? .fanIn(inputs) : .zeros)
    self.bias = bias ? scope.parameter("bias", [outputs], init: biasStart) : nil
  }

  /// [..., inputs] to [..., outputs]; the residual, of the output's shape, is added last.
  public func callAsFunction(_ x: Tensor, activation: Activation = .none, residual: Tensor? = nil) -> Tensor {
    linear(x, weight, bias: bias, activation: activation, residual: residual)
  }
}
