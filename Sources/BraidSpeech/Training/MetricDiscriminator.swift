import BraidNN
import BraidTensor

/// The network of MetricGAN, which learns what a metric says of an estimate so that the metric gets a gradient.
///
/// Compressed magnitudes of clean and estimated speech as a map of two channels, four times a convolution (4 x 4, steps
/// of 2), instance norm and PReLU, the maximum over the map, a linear layer, dropout 0.3, PReLU, a linear layer,
/// sigmoid(slope x). Matrices are divided by their largest singular value, found anew by power iteration from a fixed
/// start where the published network keeps a vector from step to step: a step depends on the weights alone.
///
/// Source: Fu et al., "MetricGAN+", 2021, in the form of Lu et al., "MP-SENet", 2023; names as published.
struct MetricDiscriminator: Sendable {
  static let dropout: Float = 0.3

  /// A convolution with its instance norm and PReLU.
  struct Stage: Sendable {
    let weight, scale, bias, slope: Parameter

    init(_ layers: ParameterScope, first: Int, inputs: Int, outputs: Int) {
      let norm = layers(first + 1)
      weight = layers(first).parameter("weight_orig", [outputs, inputs, 4, 4], init: .fanIn(16 * inputs))
      scale = norm.parameter("weight", [outputs], init: .ones)
      bias = norm.parameter("bias", [outputs], init: .zeros)
      slope = layers(first + 2).parameter("weight", [outputs], init: .constant(0.25))
    }
  }

  /// A linear layer.
  struct Product: Sendable {
    let weight, bias: Parameter

    init(_ layer: ParameterScope, inputs: Int, outputs: Int) {
      weight = layer.parameter("weight_orig", [outputs, inputs], init: .fanIn(inputs))
      bias = layer.parameter("bias", [outputs], init: .fanIn(inputs))
    }
  }

  let stages: [Stage]
  let hidden, score: Product
  let hiddenSlope, slope: Parameter
  var iterations = 16

  init(_ scope: ParameterScope, width: Int = 16) {
    let layers = scope("layers")
    var stages: [Stage] = []
    var inputs = 2
    for i in 0..<4 {
      let outputs = width << i
      stages.append(Stage(layers, first: 3 * i, inputs: inputs, outputs: outputs))
      inputs = outputs
    }
    self.stages = stages
    hidden = Product(layers(14), inputs: inputs, outputs: 4 * width)
    hiddenSlope = layers(16).parameter("weight", [4 * width], init: .constant(0.25))
    score = Product(layers(17), inputs: 4 * width, outputs: 1)
    slope = layers(18).parameter("slope", [1], init: .ones)
  }

  /// The metric as the network sees it: [batch], 0 to 1.
  ///
  /// - Parameters:
  ///   - clean, estimate: compressed magnitudes [batch, frames, bins].
  ///   - isConstant: whether the gradient passes through the network without reaching its parameters.
  ///   - generator: what dropout draws from; no dropout where nil.
  func callAsFunction(
    _ clean: Tensor, _ estimate: Tensor, isConstant: Bool = false, dropout generator: Philox? = nil
  ) -> Tensor {
    func value(_ parameter: Parameter) -> Tensor { isConstant ? parameter.value.detached : parameter.value }
    func divided(_ parameter: Parameter) -> Tensor {
      let weight = value(parameter)
      return weight / Self.largestSingularValue(weight, iterations: iterations)
    }
    // [batch, bins, frames, 2]: kernels lie as published.
    var x = Tensor.stacked([clean, estimate], axis: -1).permuted([0, 2, 1, 3])
    for stage in stages {
      x = conv2d(x, divided(stage.weight), stride: 2, padding: 1).instanceNormPReLU(
        weight: value(stage.scale), bias: value(stage.bias), slope: value(stage.slope))
    }
    x = linear(x.max(axes: [1, 2]), divided(hidden.weight), bias: value(hidden.bias))
    if var generator {
      let draws = Tensor.uniform(x.shape, in: 0...1, using: &generator).floats
      x = x * Tensor(draws.map { $0 < Self.dropout ? 0 : 1 / (1 - Self.dropout) }, shape: x.shape)
    }
    x = linear(x.prelu(value(hiddenSlope)), divided(score.weight), bias: value(score.bias))
    return (x * value(slope)).sigmoid().reshaped(-1)
  }

  /// The largest singular value of a matrix [rows, ...], its vectors taken as constants in the gradient.
  static func largestSingularValue(_ weight: Tensor, iterations: Int) -> Tensor {
    let rows = weight.shape[0]
    let matrix = weight.reshaped(rows, weight.elementCount / rows)
    let constant = matrix.detached
    let transposed = constant.permuted([1, 0]).contiguous()
    func unit(_ x: Tensor) -> Tensor { x / (x.squared().sum().squareRoot() + 1e-12) }
    var draw = Philox(seed: 1)
    var left = unit(.normal([1, rows], using: &draw))
    var right = unit(matmul(left, constant))
    for _ in 1..<max(iterations, 1) {
      left = unit(matmul(right, transposed))
      right = unit(matmul(left, constant))
    }
    return (matmul(left, matrix) * right).sum()
  }

  /// `weight` times how far the network finds the estimate from 1, and how far the network itself is off: from 1 for
  /// clean speech and from `metrics` for the estimate. The former has no gradient in the network, the latter none in
  /// the estimate, so one sum teaches both.
  ///
  /// - Parameters:
  ///   - clean, estimate: compressed magnitudes [batch, frames, bins].
  ///   - metrics: what the estimates' signals deserve, 0 to 1; nil where that could not be measured.
  func loss(
    clean: Tensor, estimate: Tensor, metrics: [Float]?, weight: Float, generator: Philox
  ) -> Tensor {
    let praise = self(clean, estimate, isConstant: true, dropout: generator.split(0))
    let fixed = estimate.detached
    let perfect = self(clean, clean, dropout: generator.split(1))
    var total = (1 - praise).squared().mean() * weight
    total = total + (1 - perfect).squared().mean()
    if let metrics {
      let guess = self(clean, fixed, dropout: generator.split(2))
      let truth = Tensor(metrics, shape: [metrics.count])
      total = total + (guess - truth).squared().mean()
    }
    return total
  }
}
