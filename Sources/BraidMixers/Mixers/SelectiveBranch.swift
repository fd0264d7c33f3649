import BraidNN
import BraidTensor

/// The convolution and selective scan between the projections of a Mamba layer, with their parameters.
///
/// Bidirectional layers hold two; the second one's names carry "_b", as Vim publishes them.
struct SelectiveBranch: Sendable {
  let configuration: Mamba.Configuration
  let kernel: Parameter
  let kernelBias: Parameter?
  let projection: Linear
  let stepProjection: Linear
  let logDecay: Parameter
  let skip: Parameter
  let stepNorm: Parameter?
  let inputNorm: Parameter?
  let outputNorm: Parameter?

  init(_ scope: ParameterScope, _ c: Mamba.Configuration, suffix: String = "") {
    configuration = c
    let (inner, rank) = (c.innerChannels, c.stepRank)
    kernel = scope("conv1d\(suffix)").parameter(
      "weight", [inner, 1, c.kernelSize], init: .fanIn(c.kernelSize))
    kernelBias =
      c.convolutionBias
      ? scope("conv1d\(suffix)").parameter("bias", [inner], init: .fanIn(c.kernelSize)) : nil
    projection = Linear(
      scope("x_proj\(suffix)"), inputs: inner, outputs: rank + 2 * c.stateSize, bias: false)
    stepProjection = Linear(
      scope("dt_proj\(suffix)"), inputs: rank, outputs: inner, init: .fanIn(rank),
      biasInit: .inverseSoftplus(logUniform: 0.001...0.1, floor: 1e-4))
    logDecay = scope.parameter("A\(suffix)_log", [inner, c.stateSize], init: .logarithmsOfStateIndex)
    skip = scope.parameter("D\(suffix)", [inner], init: .ones)
    let learnt = c.normalization == .learnt
    func norm(_ name: String, _ count: Int) -> Parameter? {
      learnt ? scope("\(name)_layernorm\(suffix)").parameter("weight", [count], init: .ones) : nil
    }
    stepNorm = norm("dt", rank)
    inputNorm = norm("b", c.stateSize)
    outputNorm = norm("c", c.stateSize)
  }

  func initialState(batch: Int) -> MixerState {
    let c = configuration
    return MixerState([
      "convolution": .zeros([batch, c.kernelSize - 1, c.innerChannels]),
      "scan": .zeros([batch, c.innerChannels, c.stateSize]),
    ])
  }

  /// (Δ before softplus, B, C) at every position of u [batch, length, innerChannels].
  private func selected(_ u: Tensor) -> (steps: Tensor, inputs: Tensor, outputs: Tensor) {
    let c = configuration
    var parts = projection(u).split([c.stepRank, c.stateSize, c.stateSize], axis: -1)
    if c.normalization != .none {
      parts = zip(parts, [stepNorm, inputNorm, outputNorm]).map {
        $0.rmsNorm(weight: $1?.value, epsilon: c.normEpsilon)
      }
    }
    return (stepProjection(parts[0]), parts[1], parts[2])
  }

  /// The scan of x, gated by z, both [batch, length, innerChannels]; the state moves on.
  func callAsFunction(_ x: Tensor, gate z: Tensor, state: inout MixerState) -> Tensor {
    let (u, past) = causalConv1d(
      x, kernel.value, bias: kernelBias?.value, state: state["convolution"], activation: .silu)
    let (steps, inputs, outputs) = selected(u)
    let (y, last) = selectiveScan(
      u, steps: steps, decay: logDecay.negatedExponential, inputs: inputs, outputs: outputs,
      skip: skip.value, initialState: state["scan"])
    state["convolution"] = past
    state["scan"] = last
    return y * z.silu()
  }

  /// The same from a zero state, position by position.
  func reference(_ x: Tensor, gate z: Tensor) -> Tensor {
    let (length, size) = (x.shape[1], configuration.kernelSize)
    let padded = x.padded(axis: 1, before: size - 1)
    let taps = (0..<size).map { kernel.value.selected(axis: 2, $0).squeezed(-1) }
    let decay = -logDecay.value.exp()
    var h = Tensor.zeros([x.shape[0], configuration.innerChannels, configuration.stateSize])
    let outputs = (0..<length).map { t in
      var sum = kernelBias?.value ?? .zeros([configuration.innerChannels])
      for i in 0..<size { sum = sum + padded.selected(axis: 1, t + i) * taps[i] }
      let u = sum.silu()
      let (steps, b, c) = selected(u)
      let step = steps.softplus()
      h = (step.unsqueezed(-1) * decay).exp() * h + (step * u).unsqueezed(-1) * b.unsqueezed(1)
      let y = (h * c.unsqueezed(1)).sum(axes: [-1]) + skip.value * u
      return y * z.selected(axis: 1, t).silu()
    }
    return Tensor.stacked(outputs, axis: 1)
  }
}
