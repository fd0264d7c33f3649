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
  /// The two layers where they are Mamba's.
  let mambas: (along: NormalizedMamba, against: NormalizedMamba)?

  /// - Parameter layer: declares the parameters of a direction and gives its function.
  public init(
    blocks: ParameterScope, projection: ParameterScope, channels: Int,
    layer: (ParameterScope) throws -> Layer
  ) rethrows {
    along = try layer(blocks("forward_blocks.0"))
    against = try layer(blocks("backward_blocks.0"))
    mambas = nil
    weight = projection.parameter("weight", [2 * channels, channels, 1], init: .fanIn(channels))
    bias = projection.parameter("bias", [channels], init: .fanIn(channels))
  }

  /// The pair whose layers are x + Mamba(RMSNorm(x)).
  public init(
    blocks: ParameterScope, projection: ParameterScope, mamba c: Mamba.Configuration, epsilon: Float
  ) throws {
    let mambas = (
      along: try NormalizedMamba(blocks("forward_blocks.0"), c, epsilon: epsilon),
      against: try NormalizedMamba(blocks("backward_blocks.0"), c, epsilon: epsilon)
    )
    along = { mambas.along($0) }
    against = { mambas.against($0) }
    self.mambas = mambas
    weight = projection.parameter("weight", [2 * c.channels, c.channels, 1], init: .fanIn(c.channels))
    bias = projection.parameter("bias", [c.channels], init: .fanIn(c.channels))
  }

  /// The pair, behind an attention where one is given, as one operation in place; nil where there is none for its
  /// layers or for the format of its weights.
  ///
  /// - Parameters:
  ///   - parameters: those of the attention.
  ///   - attention: what the operation does first.
  public func fused(
    behind parameters: [Parameter] = [], attention: () -> BidirectionalPass.Attention? = { nil }
  ) -> BidirectionalPass? {
    guard let mambas, let first = mambas.along.fusible, let second = mambas.against.fusible else {
      return nil
    }
    let all = first + second + [weight, bias] + parameters
    let isPlain = all.allSatisfy {
      guard case .tensor(let value) = $0.factor else { return false }
      return value.dtype == .float32
    }
    guard isPlain else { return nil }
    return kept(all, "bidirectional pass") {
      BidirectionalPass(
        attention: attention(), along: mambas.along.fused, against: mambas.against.fused,
        weight: weight.value.squeezed(2), bias: bias.value)
    }
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
