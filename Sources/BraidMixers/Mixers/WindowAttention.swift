import BraidNN
import BraidTensor

/// Attention within windows of a map, shifted or not, with a learnt bias for each relative position.
///
///     o = softmax(q kᵀ / sqrt(d) + bias[Δ] + mask) v        for each window and head
///
/// Keys as in Swin and HAT: `qkv`, `proj`, `relative_position_bias_table` [(2 window - 1)², heads].
/// Source: Liu et al., "Swin Transformer", 2021, section 3.2.
public struct WindowAttention: Sendable {
  public let heads: Int
  public let window: Int
  let projection: Linear
  let output: Linear
  let biasTable: Parameter

  public init(
    _ scope: ParameterScope, channels: Int, heads: Int, window: Int, init initializer: Initializer? = nil
  ) {
    self.heads = heads
    self.window = window
    projection = Linear(scope("qkv"), inputs: channels, outputs: 3 * channels, init: initializer)
    output = Linear(scope("proj"), inputs: channels, outputs: channels, init: initializer)
    biasTable = scope.parameter(
      "relative_position_bias_table", [(2 * window - 1) * (2 * window - 1), heads],
      init: .truncatedNormal(0.02))
  }

  /// [B, H, W, C] to the same; H and W are multiples of the window. Along an axis with a shift, the map is rolled by
  /// it and the windows that wrap around the border are masked into their parts. The residual is added last.
  public func callAsFunction(_ x: Tensor, shift: (y: Int, x: Int) = (0, 0), residual: Tensor? = nil) -> Tensor
  {
    let attended = windowAttention(
      projection(x), heads: heads, window: window, shift: shift, biasTable: biasTable.value)
    return output(attended, residual: residual)
  }
}

/// Attention of the queries of a window to the keys of a larger one around it (overlapping cross-attention).
///
/// Keys beyond the border are zero vectors that are not masked: they take their share of the softmax, as published.
/// Source: Chen et al., "Activating more pixels in image super-resolution transformer", 2023, section 3.2.
public struct OverlappingWindowAttention: Sendable {
  public let heads: Int
  public let window: Int
  public let overlapWindow: Int
  let projection: Linear
  let output: Linear
  let biasTable: Parameter

  public init(_ scope: ParameterScope, channels: Int, heads: Int, window: Int, overlapWindow: Int) {
    self.heads = heads
    self.window = window
    self.overlapWindow = overlapWindow
    projection = Linear(scope("qkv"), inputs: channels, outputs: 3 * channels)
    let side = window + overlapWindow - 1
    biasTable = scope.parameter(
      "relative_position_bias_table", [side * side, heads], init: .truncatedNormal(0.02))
    output = Linear(scope("proj"), inputs: channels, outputs: channels)
  }

  /// [B, H, W, C] to the same; H and W are multiples of the window. The residual is added last.
  public func callAsFunction(_ x: Tensor, residual: Tensor? = nil) -> Tensor {
    let attended = overlappingWindowAttention(
      projection(x), heads: heads, window: window, overlapWindow: overlapWindow, biasTable: biasTable.value)
    return output(attended, residual: residual)
  }
}
