import BraidTensor

/// A two-dimensional convolution of channels-last maps [B, H, W, C]; weight [outputs, inputs / groups, kh, kw], as
/// PyTorch stores it. Stride 1 and zero padding that keeps the size unless asked otherwise.
public struct Convolution2D: Sendable {
  public let weight: Parameter
  public let bias: Parameter?
  public let stride: Int
  public let padding: Int
  public let groups: Int

  public init(
    _ scope: ParameterScope, inputs: Int, outputs: Int, kernel: Int = 3, stride: Int = 1, padding: Int? = nil,
    groups: Int = 1, bias: Bool = true, init initializer: Initializer? = nil
  ) {
    let fanIn = inputs / groups * kernel * kernel
    weight = scope.parameter(
      "weight", [outputs, inputs / groups, kernel, kernel], init: initializer ?? .fanIn(fanIn))
    self.bias =
      bias ? scope.parameter("bias", [outputs], init: initializer == nil ? .fanIn(fanIn) : .zeros) : nil
    self.stride = stride
    self.padding = padding ?? kernel / 2
    self.groups = groups
  }

  /// [B, H, W, inputs] to [B, H', W', outputs]; the residual, of the output's shape, is added last.
  public func callAsFunction(_ x: Tensor, activation: Activation = .none, residual: Tensor? = nil) -> Tensor {
    conv2d(
      x, weight.value, bias: bias?.value, stride: stride, padding: padding, groups: groups,
      activation: activation,
      residual: residual)
  }
}
