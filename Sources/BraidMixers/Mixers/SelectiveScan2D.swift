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
public struct SelectiveScan2D: Sendable {
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

  public let configuration: Configuration
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

  public init(_ scope: ParameterScope, _ c: Configuration) {
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

  /// [B, H, W, C] to the same; the residual is added last.
  public func callAsFunction(_ x: Tensor, residual: Tensor? = nil) -> Tensor {
    let (inner, rank, states) = (configuration.innerChannels, configuration.stepRank, configuration.stateSize)
    let k = SelectiveScan2D.directions
    let parts = input(x).split(into: 2, axis: -1)
    let u = convolution(parts[0]).silu()
    let projected = linear(u, projection.value.reshaped(k * (rank + 2 * states), inner))
    let byDirection = projected.reshaped(x.shape[0], x.shape[1], x.shape[2], k, rank + 2 * states)
      .split([rank, states, states], axis: -1)
    let steps = Tensor.concatenated(
      (0..<k).map { direction in
        linear(
          byDirection[0].selected(axis: 3, direction), stepWeight.value.selected(axis: 0, direction))
      }, axis: -1)
    let scanned = selectiveScan2D(
      u, steps: steps, decay: -logDecay.value.exp(), inputs: byDirection[1], outputs: byDirection[2],
      skip: skip.value, stepBias: stepBias.value.reshaped(k * inner))
    return output(norm(scanned) * parts[1].silu(), residual: residual)
  }
}
