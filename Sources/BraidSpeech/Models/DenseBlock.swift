import BraidNN
import BraidTensor

/// Convolution, instance norm and PReLU, each seeing all layers before it; dilation over time doubles.
///
///     y_i = PReLU(IN(conv3x3([y_{i-1}, ..., y_0, x]))), dilation (2^i, 1); the last y comes out
///
/// Maps are [batch, time, frequency, channels].
struct DenseBlock: Sendable {
  struct Layer: Sendable {
    let convolution: NormalizedConvolution
    let dilation: Int
  }
  let layers: [Layer]

  init(_ scope: ParameterScope, channels: Int, depth: Int = 4) {
    layers = (0..<depth).map { i in
      Layer(
        convolution: NormalizedConvolution(
          scope("dense_block")(i), inputs: channels * (i + 1), outputs: channels, kernel: (3, 3)),
        dilation: 1 << i)
    }
  }

  func callAsFunction(_ x: Tensor) -> Tensor {
    var seen = x
    var y = x
    for (i, layer) in layers.enumerated() {
      y = layer.convolution(
        seen,
        axes: ConvolutionAxes(stride: [1, 1], padding: [layer.dilation, 1], dilation: [layer.dilation, 1]))
      if i + 1 < layers.count { seen = Tensor.concatenated([y, seen], axis: -1) }
    }
    return y
  }
}

/// A convolution, an instance norm over time and frequency (statistics of the present map) and a PReLU, under the
/// names 0, 1 and 2.
struct NormalizedConvolution: Sendable {
  let weight: Parameter
  let bias: Parameter
  let norm: InstanceNormPReLU
  /// Whether the weight is that of a transposed convolution.
  let transposed: Bool

  init(
    _ scope: ParameterScope, inputs: Int, outputs: Int, kernel: (time: Int, frequency: Int),
    transposed: Bool = false
  ) {
    self.transposed = transposed
    let fanIn = (transposed ? outputs : inputs) * kernel.time * kernel.frequency
    weight = scope.parameter(
      "0.weight",
      Shape((transposed ? [inputs, outputs] : [outputs, inputs]) + [kernel.time, kernel.frequency]),
      init: .fanIn(fanIn))
    bias = scope.parameter("0.bias", [outputs], init: .fanIn(fanIn))
    norm = InstanceNormPReLU(norm: scope("1"), slope: scope("2"), channels: outputs)
  }

  func callAsFunction(_ x: Tensor, axes: ConvolutionAxes) -> Tensor {
    norm(
      transposed
        ? transposedConvolution(x, weight.value, bias: bias.value, axes: axes, outputPadding: [0, 0])
        : convolution(x, weight.value, bias: bias.value, axes: axes))
  }
}

/// PReLU of the instance norm of a map [batch, time, frequency, channels].
struct InstanceNormPReLU: Sendable {
  let weight: Parameter
  let bias: Parameter
  let slope: Parameter

  init(norm: ParameterScope, slope: ParameterScope, channels: Int) {
    weight = norm.parameter("weight", [channels], init: .ones)
    bias = norm.parameter("bias", [channels], init: .zeros)
    self.slope = slope.parameter("weight", [channels], init: .constant(0.25))
  }

  func callAsFunction(_ x: Tensor) -> Tensor {
    x.instanceNorm(weight: weight.value, bias: bias.value).prelu(slope.value)
  }
}
