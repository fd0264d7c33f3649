import BraidNN
import BraidTensor

/// The experts of a layer: each with tensors of its own, or all stacked in two.
struct ExpertBank: Sendable {
  private enum Storage: Sendable {
    case separate([FeedForward])
    /// [experts, 2 width, channels] and [experts, channels, width].
    case stacked(gateAndUp: Parameter, down: Parameter)
  }

  private let configuration: FeedForward.Configuration
  private let storage: Storage

  /// Experts under `scope.name.<e>`; stacked ones under the layout's names in `scope` itself.
  init(
    _ scope: ParameterScope, name: String, count: Int, _ c: FeedForward.Configuration, stacked: Bool
  ) throws {
    try c.validate()
    configuration = c
    if stacked {
      guard case .fused(let gateAndUp, let down) = c.layout, !c.bias, c.adapters == nil else {
        throw MixerError.configuration(
          mixer: "mixture-of-experts", reason: "stacked experts have gate and up in one tensor, and no biases"
        )
      }
      storage = .stacked(
        gateAndUp: scope(gateAndUp).factor(
          "weight", [count, 2 * c.width, c.channels], init: .fanIn(c.channels)),
        down: scope(down).factor("weight", [count, c.channels, c.width], init: .fanIn(c.width)))
    } else {
      storage = .separate(try (0..<count).map { try FeedForward(scope(name)($0), c) })
    }
  }

  /// The output of one expert for rows [n, channels].
  func callAsFunction(_ expert: Int, _ x: Tensor) -> Tensor {
    switch storage {
    case .separate(let experts): return experts[expert](x)
    case .stacked(let gateAndUp, let down):
      let c = configuration
      let both = gateAndUp.factor(at: expert)
      let inner = gatedLinear(
        x, gate: both.rows(0..<c.width), up: both.rows(c.width..<2 * c.width), gateScale: c.gateScale,
        activation: c.function.activation)
      let y = linear(inner, down.factor(at: expert))
      return c.outputScale == 1 ? y : y * c.outputScale
    }
  }
}
