import BraidNN
import BraidTensor

/// A selective state-space model that scans a map in four directions: along rows and columns, forwards and
/// backwards; the four outputs are added.
///
/// For each direction k, channel c and state n, over the positions t of the direction's order:
///
///     Δ_t = softplus(W_dt,k (W_x,k u_t)[0..<R] + b_k)              [C]
///     h_t = exp(Δ_t A_k) h_{t-1} + Δ_t B_t u_t                      [C, N], B_t = (W_x,k u_t)[R..<R + N]
///     y_t = C_t h_t + D_k u_t                                       C_t = (W_x,k u_t)[R + N..<R + 2 N]
///
/// with u = SiLU(depthwise convolution(x)), and at the end y = W_out (LayerNorm(y) SiLU(z)).
/// Source: Gu and Dao, "Mamba", 2023, algorithm 2; Liu et al., "VMamba", 2024, section 4.2 (the names are theirs).
public struct SelectiveScan2D: MapMixer {
  public struct Configuration: Sendable, Codable, Hashable {
    public var channels: Int
    /// Channels of the scan over channels.
    public var expansion: Int
    public var stateSize: Int
    /// R, the rank of the step size's projection.
    public var stepRank: Int

    public init(channels: Int, expansion: Int = 1, stateSize: Int = 8, stepRank: Int? = nil) {
      self.channels = channels
      self.expansion = expansion
      self.stateSize = stateSize
      self.stepRank = stepRank ?? max(1, channels / 16)
    }
    public var innerChannels: Int { channels * expansion }
  }

  public static let name = "selective-scan-2d"
  public static let examples = [
    Configuration(channels: 8, stateSize: 4),
    Configuration(channels: 4, expansion: 2, stateSize: 3, stepRank: 2),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.channels }
  let input: Linear
  let convolution: Convolution2D
  let projection: Parameter
  let stepWeight: Parameter
  let stepBias: Parameter
  let logDecay: Parameter
  let skip: Parameter
  let norm: LayerNorm
  let output: Linear

  static let directions = 4

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try MixerError.require(
      min(c.channels, c.expansion, c.stateSize, c.stepRank) > 0, Self.name,
      "\(c.channels) channels times \(c.expansion), \(c.stateSize) states, step rank \(c.stepRank)")
    self.init(scope, valid: c)
  }

  /// The mixer of a configuration whose numbers are all positive.
  public init(_ scope: ParameterScope, valid c: Configuration) {
    configuration = c
    let (inner, k) = (c.innerChannels, SelectiveScan2D.directions)
    input = Linear(scope("in_proj"), inputs: c.channels, outputs: 2 * inner, bias: false)
    convolution = Convolution2D(scope("conv2d"), inputs: inner, outputs: inner, groups: inner)
    projection = scope.parameter(
      "x_proj_weight", [k, c.stepRank + 2 * c.stateSize, inner], init: .fanIn(inner))
    let bound = 1 / Float(c.stepRank).squareRoot()
    stepWeight = scope.parameter("dt_projs_weight", [k, inner, c.stepRank], init: .uniform(-bound...bound))
    stepBias = scope.parameter(
      "dt_projs_bias", [k, inner], init: .inverseSoftplus(logUniform: 0.001...0.1))
    logDecay = scope.parameter("A_logs", [k * inner, c.stateSize], init: .logarithmsOfStateIndex)
    skip = scope.parameter("Ds", [k * inner], init: .ones)
    norm = LayerNorm(scope("out_norm"), channels: inner)
    output = Linear(scope("out_proj"), inputs: inner, outputs: c.channels, bias: false)
  }

  public func callAsFunction(_ x: Tensor) -> Tensor { self(x, residual: nil) }

  /// [B, H, W, C] to the same; the residual is added last.
  public func callAsFunction(_ x: Tensor, residual: Tensor?) -> Tensor {
    let inner = configuration.innerChannels
    let k = SelectiveScan2D.directions
    let parts = input(x).split(into: 2, axis: -1)
    let u = convolution(parts[0]).silu()
    let (ranks, inputs, outputs) = selected(u)
    let steps = Tensor.concatenated(
      (0..<k).map { linear(ranks.selected(axis: 3, $0), stepWeight.value.selected(axis: 0, $0)) }, axis: -1)
    let scanned = selectiveScan2D(
      u, steps: steps, decay: logDecay.negatedExponential, inputs: inputs, outputs: outputs,
      skip: skip.value, stepBias: stepBias.value.reshaped(k * inner))
    return output(norm(scanned) * parts[1].silu(), residual: residual)
  }

  /// (δ, B, C) of all directions: [B, H, W, directions, R or N].
  private func selected(_ u: Tensor) -> (steps: Tensor, inputs: Tensor, outputs: Tensor) {
    let (rank, states) = (configuration.stepRank, configuration.stateSize)
    let rows = SelectiveScan2D.directions * (rank + 2 * states)
    let projected = linear(u, projection.value.reshaped(rows, configuration.innerChannels))
    let parts = projected.reshaped(
      u.shape[0], u.shape[1], u.shape[2], SelectiveScan2D.directions, rank + 2 * states
    ).split([rank, states, states], axis: -1)
    return (parts[0], parts[1], parts[2])
  }

  public func reference(_ x: Tensor) -> Tensor {
    let (batch, height, width) = (x.shape[0], x.shape[1], x.shape[2])
    let (inner, states) = (configuration.innerChannels, configuration.stateSize)
    let parts = input(x).split(into: 2, axis: -1)
    let u = convolution(parts[0]).silu()
    let (ranks, inputs, outputs) = selected(u)
    let length = height * width
    let rows = Array(0..<length)
    let columns = rows.map { ($0 % height) * width + $0 / height }
    let decay = -logDecay.value.exp().reshaped(SelectiveScan2D.directions, inner, states)
    var sums = [Tensor](repeating: .zeros([batch, inner]), count: length)
    for (k, order) in [rows, columns, rows.reversed(), columns.reversed()].enumerated() {
      func flat(_ t: Tensor) -> Tensor { t.selected(axis: 3, k).reshaped(batch, length, t.shape[-1]) }
      let (d, b, c) = (flat(ranks), flat(inputs), flat(outputs))
      var h = Tensor.zeros([batch, inner, states])
      for t in order {
        let ut = u.reshaped(batch, length, inner).selected(axis: 1, t)
        let step =
          (linear(d.selected(axis: 1, t), stepWeight.value.selected(axis: 0, k))
          + stepBias.value.selected(axis: 0, k)).softplus()
        let now = (step.unsqueezed(-1) * decay.selected(axis: 0, k)).exp()
        h = now * h + (step * ut).unsqueezed(-1) * b.selected(axis: 1, t).unsqueezed(1)
        let y = (h * c.selected(axis: 1, t).unsqueezed(1)).sum(axes: [-1])
        sums[t] = sums[t] + y + skip.value.sliced(axis: 0, k * inner..<(k + 1) * inner) * ut
      }
    }
    let scanned = Tensor.stacked(sums, axis: 1).reshaped(batch, height, width, inner)
    return output(norm(scanned) * parts[1].silu())
  }
}
