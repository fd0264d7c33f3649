import BraidNN
import BraidTensor

/// One direction of a bidirectional pair: x + Mamba(RMSNorm(x)), parameters `norm.weight` and `mixer`.
struct NormalizedMamba: Sendable {
  let norm: Parameter
  let mixer: Mamba
  let epsilon: Float

  init(_ scope: ParameterScope, _ c: Mamba.Configuration, epsilon: Float) throws {
    norm = scope("norm").parameter("weight", [c.channels], init: .ones)
    mixer = try Mamba(scope("mixer"), c)
    self.epsilon = epsilon
  }

  func callAsFunction(_ x: Tensor) -> Tensor { mixer(x.rmsNorm(weight: norm.value, epsilon: epsilon)) + x }

  func reference(_ x: Tensor) -> Tensor {
    mixer.reference(x.rmsNorm(weight: norm.value, epsilon: epsilon)) + x
  }

  /// The parameters, where the fused operation knows all that the layer does: nil elsewhere.
  var fusible: [Parameter]? {
    let branch = mixer.branch
    guard
      mixer.configuration.normalization == .none, mixer.input.bias == nil, mixer.output.bias == nil,
      branch.projection.bias == nil
    else { return nil }
    return [
      norm, mixer.input.weight, mixer.output.weight, branch.kernel, branch.projection.weight,
      branch.stepProjection.weight, branch.logDecay, branch.skip,
    ] + [branch.kernelBias, branch.stepProjection.bias].compactMap { $0 }
  }

  /// The layer for the fused operation; only where it is fusible.
  var fused: BidirectionalPass.Layer {
    let branch = mixer.branch
    return BidirectionalPass.Layer(
      norm: norm.value, epsilon: epsilon, input: mixer.input.weight.value, kernel: branch.kernel.value,
      kernelBias: branch.kernelBias?.value, projection: branch.projection.weight.value,
      step: branch.stepProjection.weight.value, stepBias: branch.stepProjection.bias?.value,
      decay: branch.logDecay.negatedExponential, skip: branch.skip.value, output: mixer.output.weight.value)
  }
}
