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

    var axes: ConvolutionAxes {
      ConvolutionAxes(stride: [1, 1], padding: [dilation, 1], dilation: [dilation, 1])
    }
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
    if !layers[0].convolution.records(x) { return inferred(x.shape) { $0.overwrite(with: x) } }
    var seen = x
    var y = x
    for (i, layer) in layers.enumerated() {
      y = layer.convolution(seen, axes: layer.axes)
      if i + 1 < layers.count { seen = Tensor.concatenated([y, seen], axis: -1) }
    }
    return y
  }

  /// This block of what another convolution, with kernels of one pixel, makes of x.
  func callAsFunction(_ x: Tensor, behind first: NormalizedConvolution) -> Tensor {
    let axes = ConvolutionAxes(stride: [1, 1], padding: [0, 0], dilation: [1, 1])
    if first.records(x) { return self(first(x, axes: axes)) }
    return inferred(Shape(x.shape.dimensions.dropLast() + [first.norm.weight.shape[0]])) {
      first.write(x, axes: axes, into: $0)
    }
  }

  /// The block without a gradient: one map holds what all layers see, [y_{depth-2}, ..., y_0, x], so that a layer's
  /// input is a range of its channels.
  ///
  /// - Parameter fill: writes x, of the given shape, into a view.
  private func inferred(_ shape: Shape, _ fill: (Tensor) -> Void) -> Tensor {
    let (depth, channels) = (layers.count, shape[-1])
    let map = Tensor.uninitialized(Shape(shape.dimensions.dropLast() + [depth * channels]))
    fill(map.sliced(axis: -1, (depth - 1) * channels..<depth * channels))
    for (i, layer) in layers.enumerated() {
      let first = (depth - 1 - i) * channels
      let seen = map.sliced(axis: -1, first..<depth * channels)
      if i + 1 == depth { return layer.convolution(seen, axes: layer.axes) }
      layer.convolution.write(seen, axes: layer.axes, into: map.sliced(axis: -1, first - channels..<first))
    }
    return map
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
    let y = convolved(x, axes)
    if records(x) { return norm(y) }
    norm.write(y, into: y)
    return y
  }

  /// Writes the result into a view of its shape; without a gradient.
  func write(_ x: Tensor, axes: ConvolutionAxes, into target: Tensor) {
    norm.write(convolved(x, axes), into: target)
  }

  /// Whether a gradient of x or of the parameters is wanted.
  func records(_ x: Tensor) -> Bool {
    Autograd.isRecording && (x.requiresGradient || weight.value.requiresGradient)
  }

  private func convolved(_ x: Tensor, _ axes: ConvolutionAxes) -> Tensor {
    transposed
      ? transposedConvolution(x, weight.value, bias: bias.value, axes: axes, outputPadding: [0, 0])
      : convolution(x, weight.value, bias: bias.value, axes: axes)
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
    x.instanceNormPReLU(weight: weight.value, bias: bias.value, slope: slope.value)
  }

  /// Writes the result into a view of x's shape, or x itself; without a gradient.
  func write(_ x: Tensor, into target: Tensor) {
    x.writeInstanceNormPReLU(weight: weight.value, bias: bias.value, slope: slope.value, into: target)
  }
}
