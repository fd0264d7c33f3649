import BraidNN
import BraidTensor

/// Two layers of the same kind, one along the sequence and one against it, joined by a projection.
///
///     out = Wᵀ [f(x), reverse(b(reverse x))] + bias
///
/// x [batch, length, C], W [2 C, C, 1] (a transposed convolution of one tap, as published). The layers' parameters are
/// under `forward_blocks.0` and `backward_blocks.0`.
public struct BidirectionalPair: Sendable {
  public typealias Layer = @Sendable (Tensor) -> Tensor

  let along: Layer
  let against: Layer
  private let weight: Parameter
  private let bias: Parameter

  /// - Parameter layer: declares the parameters of a direction and gives its function.
  public init(
    blocks: ParameterScope, projection: ParameterScope, channels: Int,
    layer: (ParameterScope) throws -> Layer
  ) rethrows {
    along = try layer(blocks("forward_blocks.0"))
    against = try layer(blocks("backward_blocks.0"))
    weight = projection.parameter("weight", [2 * channels, channels, 1], init: .fanIn(channels))
    bias = projection.parameter("bias", [channels], init: .fanIn(channels))
  }

  /// Whether a gradient of the parameters is wanted.
  public var requiresGradient: Bool { weight.value.requiresGradient }

  /// The output for x, plus a residual of its shape.
  public func callAsFunction(_ x: Tensor, residual: Tensor? = nil) -> Tensor {
    joined(along(x), against(x.flipped(axis: 1)).flipped(axis: 1), residual: residual)
  }

  func joined(_ along: Tensor, _ against: Tensor, residual: Tensor? = nil) -> Tensor {
    let channels = bias.shape[0]
    let matrix = weight.value.squeezed(2).transposed()
    let first = linear(
      along, matrix.sliced(axis: 1, 0..<channels), bias: bias.value, residual: residual)
    return linear(against, matrix.sliced(axis: 1, channels..<2 * channels), residual: first)
  }
}
