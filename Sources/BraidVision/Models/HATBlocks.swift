import BraidMixers
import BraidNN
import BraidTensor

/// Channel attention block: two convolutions with a narrow middle, then channel attention.
struct HATConvolutionBlock: Sendable {
  let compress: Convolution2D
  let expand: Convolution2D
  let attention: ChannelAttention

  init(_ scope: ParameterScope, _ c: HATConfiguration) {
    let middle = c.channels / c.compressRatio
    compress = Convolution2D(scope("cab.0"), inputs: c.channels, outputs: middle)
    expand = Convolution2D(scope("cab.2"), inputs: middle, outputs: c.channels)
    attention = ChannelAttention(scope("cab.3"), channels: c.channels, factor: c.squeezeFactor)
  }

  /// Before channel attention: [B, H, W, C].
  func features(_ x: Tensor) -> Tensor { expand(compress(x, activation: .gelu)) }
}

/// Two linear layers with a GELU between.
struct HATFeedForward: Sendable {
  let first: Linear
  let second: Linear

  init(_ scope: ParameterScope, _ c: HATConfiguration) {
    first = Linear(scope("fc1"), inputs: c.channels, outputs: c.channels * c.mlpRatio)
    second = Linear(scope("fc2"), inputs: c.channels * c.mlpRatio, outputs: c.channels)
  }

  /// t + W2 GELU(W1 x)
  func callAsFunction(_ x: Tensor, residual t: Tensor) -> Tensor {
    second(first(x, activation: .gelu), residual: t)
  }
}

/// Hybrid attention block: window attention and channel attention side by side, then a feed-forward layer.
struct HybridAttentionBlock: Sendable {
  let shift: Int
  let convolutionScale: Float
  let norm1: LayerNorm
  let norm2: LayerNorm
  let attention: WindowAttention
  let convolution: HATConvolutionBlock
  let feedForward: HATFeedForward

  init(_ scope: ParameterScope, _ c: HATConfiguration, shift: Int) {
    self.shift = shift
    convolutionScale = c.convolutionScale
    norm1 = LayerNorm(scope("norm1"), channels: c.channels)
    attention = WindowAttention(scope("attn"), channels: c.channels, heads: c.heads, window: c.window)
    convolution = HATConvolutionBlock(scope("conv_block"), c)
    norm2 = LayerNorm(scope("norm2"), channels: c.channels)
    feedForward = HATFeedForward(scope("mlp"), c)
  }

  /// [B, H, W, C] to the same; H and W are multiples of the window.
  func callAsFunction(_ t: Tensor) -> Tensor {
    let u = norm1(t)
    let features = convolution.features(u)
    let weights = convolution.attention.weights(means: features.mean(axes: [1, 2], keepingAxes: true))
    let attended = attention(u, shift: (shift, shift), residual: t)
    return feed(attended.addingScaled(features, by: weights * convolutionScale))
  }

  /// t plus its feed-forward layer.
  func feed(_ t: Tensor) -> Tensor { feedForward(norm2(t), residual: t) }
}

/// Overlapping cross-attention block: queries of a window look at the keys of a larger one around it.
struct OverlappingAttentionBlock: Sendable {
  let norm1: LayerNorm
  let norm2: LayerNorm
  let attention: OverlappingWindowAttention
  let feedForward: HATFeedForward

  init(_ scope: ParameterScope, _ c: HATConfiguration) {
    norm1 = LayerNorm(scope("norm1"), channels: c.channels)
    attention = OverlappingWindowAttention(
      scope, channels: c.channels, heads: c.heads, window: c.window, overlapWindow: c.overlapWindow)
    norm2 = LayerNorm(scope("norm2"), channels: c.channels)
    feedForward = HATFeedForward(scope("mlp"), c)
  }

  func callAsFunction(_ t: Tensor) -> Tensor {
    let attended = attention(norm1(t), residual: t)
    return feedForward(norm2(attended), residual: attended)
  }
}

/// Residual hybrid attention group.
struct ResidualHybridAttentionGroup: Sendable {
  let blocks: [HybridAttentionBlock]
  let overlapping: OverlappingAttentionBlock
  let convolution: Convolution2D

  init(_ scope: ParameterScope, _ c: HATConfiguration, depth: Int) {
    blocks = (0..<depth).map { index in
      HybridAttentionBlock(
        scope("residual_group.blocks")(index), c, shift: index.isMultiple(of: 2) ? 0 : c.window / 2)
    }
    overlapping = OverlappingAttentionBlock(scope("residual_group.overlap_attn"), c)
    convolution = Convolution2D(scope("conv"), inputs: c.channels, outputs: c.channels)
  }

  func callAsFunction(_ t: Tensor) -> Tensor {
    var x = t
    for block in blocks { x = block(x) }
    return convolution(overlapping(x), residual: t)
  }
}
