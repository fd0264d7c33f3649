import BraidNN
import BraidTensor

private let doubling = ConvolutionAxes(stride: [1, 2], padding: [0, 0], dilation: [1, 1])

/// The factor of every magnitude: [batch, time, bins' , channels] to [batch, time, bins].
struct MagnitudeDecoder: Sendable {
  let dense: DenseBlock
  let weight: Parameter
  let bias: Parameter
  let mixing: Convolution2D
  /// nil where the mask is not normalised: then `mixing` gives its logits.
  let shaping: (norm: InstanceNormPReLU, last: Convolution2D)?
  let slope: Parameter
  let limit: Float

  init(_ scope: ParameterScope, _ c: MambAttention.Configuration, bins: Int) {
    dense = DenseBlock(scope("dense_block"), channels: c.channels, depth: c.denseDepth)
    let convolution = scope("mask_conv")
    weight = convolution.parameter("0.weight", [c.channels, c.channels, 1, 3], init: .fanIn(3 * c.channels))
    bias = convolution.parameter("0.bias", [c.channels], init: .fanIn(3 * c.channels))
    mixing = Convolution2D(convolution(1), inputs: c.channels, outputs: 1, kernel: 1)
    shaping =
      c.maskNorm
      ? (
        InstanceNormPReLU(norm: convolution(2), slope: convolution(3), channels: 1),
        Convolution2D(convolution(4), inputs: 1, outputs: 1, kernel: 1)
      ) : nil
    slope = scope("lsigmoid").parameter("slope", [bins, 1], init: .ones)
    limit = c.maskLimit
  }

  func callAsFunction(_ x: Tensor) -> Tensor {
    let wide = transposedConvolution(
      dense(x), weight.value, bias: bias.value, axes: doubling, outputPadding: [0, 0])
    var raw = mixing(wide)
    if let shaping { raw = shaping.last(shaping.norm(raw)) }
    return (raw * slope.value).sigmoid().squeezed(-1) * limit
  }
}

/// A number whose angle is the phase: [batch, time, bins', channels] to real and imaginary part [batch, time, bins].
struct PhaseDecoder: Sendable {
  let dense: DenseBlock
  let widening: NormalizedConvolution
  let real: Convolution2D
  let imaginary: Convolution2D

  init(_ scope: ParameterScope, _ c: MambAttention.Configuration) {
    dense = DenseBlock(scope("dense_block"), channels: c.channels, depth: c.denseDepth)
    widening = NormalizedConvolution(
      scope("phase_conv"), inputs: c.channels, outputs: c.channels, kernel: (1, 3), transposed: true)
    // Without a rotation, a residual phase is the noisy one.
    let start: Initializer? = c.phase == .residual ? .zeros : nil
    real = Convolution2D(scope("phase_conv_r"), inputs: c.channels, outputs: 1, kernel: 1, init: start)
    imaginary = Convolution2D(scope("phase_conv_i"), inputs: c.channels, outputs: 1, kernel: 1, init: start)
  }

  func callAsFunction(_ x: Tensor) -> (real: Tensor, imaginary: Tensor) {
    let wide = widening(dense(x), axes: doubling)
    return (real(wide).squeezed(-1), imaginary(wide).squeezed(-1))
  }
}
