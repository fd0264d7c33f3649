import BraidNN
import BraidTensor

/// Channels weighted by what the whole map holds: y = x ⊙ sigmoid(W₂ relu(W₁ mean(x))).
///
/// x [batch, height, width, C], the mean over the map; W₁ narrows the channels by `factor`. Keys as in HAT and RCAN:
/// `attention.1`, `attention.3`, 1 x 1 convolutions.
/// Source: Hu et al., "Squeeze-and-excitation networks", 2018; Chen et al., HAT, 2023 (the second half of its CAB).
public struct ChannelAttention: MapMixer {
  public struct Configuration: Codable, Hashable, Sendable {
    public var channels: Int
    /// What the channels are divided by in the middle.
    public var factor: Int

    public init(channels: Int, factor: Int = 16) {
      self.channels = channels
      self.factor = factor
    }
  }

  public static let name = "channel-attention"
  public static let examples = [
    Configuration(channels: 12, factor: 4), Configuration(channels: 5, factor: 5),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.channels }
  let squeeze: Convolution2D
  let excite: Convolution2D

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try MixerError.require(
      c.channels > 0 && c.factor > 0 && c.factor <= c.channels, Self.name,
      "\(c.channels) channels narrowed by \(c.factor)")
    self.init(scope, channels: c.channels, factor: c.factor)
  }

  /// As a part of a model that has checked the numbers itself.
  public init(_ scope: ParameterScope, channels: Int, factor: Int) {
    configuration = Configuration(channels: channels, factor: factor)
    squeeze = Convolution2D(scope("attention.1"), inputs: channels, outputs: channels / factor, kernel: 1)
    excite = Convolution2D(scope("attention.3"), inputs: channels / factor, outputs: channels, kernel: 1)
  }

  public func reference(_ x: Tensor) -> Tensor {
    var sum = Tensor.zeros([x.shape[0], channels])
    for row in 0..<x.shape[1] {
      for column in 0..<x.shape[2] { sum = sum + x.selected(axis: 1, row).selected(axis: 1, column) }
    }
    func dense(_ layer: Convolution2D, _ x: Tensor) -> Tensor {
      matmul(x, layer.weight.value.reshaped(layer.weight.shape[0], -1).transposed()) + layer.bias!.value
    }
    let means = sum / Float(x.shape[1] * x.shape[2])
    let weights = dense(excite, dense(squeeze, means).relu()).sigmoid()
    return x * weights.reshaped(x.shape[0], 1, 1, channels)
  }

  public func callAsFunction(_ x: Tensor) -> Tensor {
    x * weights(means: x.mean(axes: [1, 2], keepingAxes: true))
  }

  /// The channels' weights [B, 1, 1, C] from their means [B, 1, 1, C].
  public func weights(means: Tensor) -> Tensor {
    excite(squeeze(means, activation: .relu), activation: .sigmoid)
  }
}
