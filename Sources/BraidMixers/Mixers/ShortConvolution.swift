import BraidNN
import BraidTensor

/// A causal depthwise convolution of a few positions with SiLU, as it stands before recurrent mixers.
struct ShortConvolution: Sendable {
  let weight: Parameter
  let bias: Parameter?
  let activation: Activation

  init(
    _ scope: ParameterScope, channels: Int, kernelSize: Int, bias: Bool = false,
    activation: Activation = .silu
  ) {
    weight = scope.parameter("weight", [channels, 1, kernelSize], init: .fanIn(kernelSize))
    self.bias = bias ? scope.parameter("bias", [channels], init: .fanIn(kernelSize)) : nil
    self.activation = activation
  }

  /// The inputs before the first: [batch, kernelSize - 1, channels].
  func initialState(batch: Int) -> Tensor { .zeros([batch, weight.shape[2] - 1, weight.shape[0]]) }

  /// [batch, length, channels] to the same; the state moves on.
  func callAsFunction(_ x: Tensor, state: inout Tensor) -> Tensor {
    let (output, past) = causalConv1d(
      x, weight.value, bias: bias?.value, state: state, activation: activation)
    state = past
    return output
  }

  /// The same from a zero state, position by position.
  func reference(_ x: Tensor) -> Tensor {
    let size = weight.shape[2]
    let padded = x.padded(axis: 1, before: size - 1)
    let taps = (0..<size).map { weight.value.selected(axis: 2, $0).squeezed(-1) }
    let outputs = (0..<x.shape[1]).map { t in
      var sum = bias?.value ?? .zeros([weight.shape[0]])
      for i in 0..<size { sum = sum + padded.selected(axis: 1, t + i) * taps[i] }
      return activation == .silu ? sum.silu() : sum
    }
    return Tensor.stacked(outputs, axis: 1)
  }
}
