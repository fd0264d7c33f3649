import BraidMixers
import BraidNN
import BraidTensor

/// HAT, the hybrid attention transformer for image super-resolution (Chen et al., "Activating more pixels in image
/// super-resolution transformer", 2023), with the keys of the published checkpoints.
///
/// Channel attention pools the whole map, so the output depends on the size of the input beyond any neighbourhood.
public struct HAT: RestorationModel {
  public static let architecture = "hat"
  /// The mean of the training images, RGB.
  static let mean: [Float] = [0.4488, 0.4371, 0.4040]

  public let configuration: HATConfiguration
  public let parameters: ParameterStore
  let head: Convolution2D
  let embedNorm: LayerNorm
  let groups: [ResidualHybridAttentionGroup]
  let norm: LayerNorm
  let body: Convolution2D
  let beforeUpsampling: Convolution2D
  let upsampling: [Convolution2D]
  let tail: Convolution2D

  public var scale: Int { configuration.scale }
  public var sizeMultiple: Int { configuration.window }
  public var receptiveRadius: Int? { nil }
  public var bytesPerPixel: Int {
    let body = configuration.channels * 4 * 10
    let tail = configuration.features * 4 * scale * scale * 3
    return max(body, tail)
  }

  public init(_ configuration: HATConfiguration) {
    let c = configuration
    let store = ParameterStore()
    let root = store.root
    self.configuration = c
    parameters = store
    let (window, overlap) = (c.window, c.overlapWindow)
    root.derived("relative_position_index_SA") {
      Tensor(RelativePosition.index(window: window), shape: [window * window, window * window])
    }
    root.derived("relative_position_index_OCA") {
      Tensor(
        RelativePosition.overlappingIndex(window: window, overlapWindow: overlap),
        shape: [window * window, overlap * overlap])
    }
    head = Convolution2D(root("conv_first"), inputs: 3, outputs: c.channels)
    embedNorm = LayerNorm(root("patch_embed.norm"), channels: c.channels)
    groups = c.depths.enumerated().map { index, depth in
      ResidualHybridAttentionGroup(root("layers")(index), c, depth: depth)
    }
    norm = LayerNorm(root("norm"), channels: c.channels)
    body = Convolution2D(root("conv_after_body"), inputs: c.channels, outputs: c.channels)
    beforeUpsampling = Convolution2D(root("conv_before_upsample.0"), inputs: c.channels, outputs: c.features)
    let steps = c.scale == 3 ? [3] : [Int](repeating: 2, count: c.scale.trailingZeroBitCount)
    upsampling = steps.enumerated().map { index, step in
      Convolution2D(root("upsample")(index * 2), inputs: c.features, outputs: c.features * step * step)
    }
    tail = Convolution2D(root("conv_last"), inputs: c.features, outputs: 3)
  }

  public func callAsFunction(_ image: Tensor) -> Tensor {
    let x = head(image - Tensor(HAT.mean))
    var t = embedNorm(x)
    for group in groups { t = group(t) }
    return reconstruct(body(norm(t), residual: x))
  }

  /// From the features of the body to the image.
  func reconstruct(_ features: Tensor) -> Tensor {
    var y = beforeUpsampling(features, activation: .leakyReLU(slope: 0.01))
    for convolution in upsampling {
      let step = convolution.weight.shape[0] == configuration.features * 9 ? 3 : 2
      y = convolution(y).pixelShuffled(step)
    }
    return tail(y) + Tensor(HAT.mean)
  }
}
