import BraidNN
import BraidTensor

/// Two Mamba layers, one along the sequence and one against it, joined by a projection.
///
///     f = Mamba_f(RMSNorm_f(x)) + x;   b = reverse(Mamba_b(RMSNorm_b(reverse x)) + reverse x)
///     out = Wᵀ [f, b] + bias
///
/// x [batch, length, C], W [2 C, C, 1] (a transposed convolution of one tap, as published). The layers' parameters
/// are under `forward_blocks.0` and `backward_blocks.0`, each with `norm.weight` and `mixer`.
/// Source: Kühne et al., "MambAttention", 2025 (names and layout are those of its checkpoint).
public struct BidirectionalMamba: SequenceMixer {
  public struct Configuration: Codable, Hashable, Sendable {
    public var mamba: Mamba.Configuration
    /// Added to the mean square in the norms before the layers.
    public var epsilon: Float

    public init(mamba: Mamba.Configuration, epsilon: Float = 1e-5) {
      self.mamba = mamba
      self.epsilon = epsilon
    }
  }

  public static let name = "bidirectional-mamba"
  public static let examples = [
    Configuration(mamba: .init(channels: 8, stateSize: 4)),
    Configuration(mamba: .init(channels: 6, innerChannels: 10, stateSize: 3, bias: true), epsilon: 1e-3),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.mamba.channels }
  private let pair: BidirectionalPair

  public init(_ scope: ParameterScope, _ configuration: Configuration) throws {
    try self.init(blocks: scope, projection: scope("linear"), configuration)
  }

  /// The mixer with its projection elsewhere (the published model keeps blocks under `time_mamba`, the projection
  /// under `tlinear`).
  public init(blocks: ParameterScope, projection: ParameterScope, _ c: Configuration) throws {
    try MixerError.require(c.epsilon >= 0, Self.name, "epsilon \(c.epsilon)")
    configuration = c
    pair = try BidirectionalPair(blocks: blocks, projection: projection, mamba: c.mamba, epsilon: c.epsilon)
  }

  public func callAsFunction(_ x: Tensor) -> Tensor { pair(x) }

  public func reference(_ x: Tensor) -> Tensor {
    let layers = pair.mambas!
    return pair.joined(
      layers.along.reference(x), layers.against.reference(x.flipped(axis: 1)).flipped(axis: 1))
  }
}
