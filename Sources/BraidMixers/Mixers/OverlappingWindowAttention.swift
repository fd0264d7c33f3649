import BraidNN
import BraidTensor

/// Attention of the queries of a window to the keys of a larger one around it (overlapping cross-attention).
///
/// x [batch, height, width, C]. Keys beyond the border are zero vectors that are not masked: they take their share of
/// the softmax, as published. A map that the windows do not tile is padded as in `WindowAttention`.
/// Source: Chen et al., "Activating more pixels in image super-resolution transformer", 2023, section 3.2.
public struct OverlappingWindowAttention: MapMixer {
  public struct Configuration: Codable, Hashable, Sendable {
    public var channels: Int
    public var heads: Int
    public var window: Int
    /// The side of the windows of keys; larger than `window` by an even number.
    public var overlapWindow: Int

    public init(channels: Int, heads: Int, window: Int, overlapWindow: Int) {
      self.channels = channels
      self.heads = heads
      self.window = window
      self.overlapWindow = overlapWindow
    }
  }

  public static let name = "overlapping-window-attention"
  public static let examples = [
    Configuration(channels: 8, heads: 2, window: 4, overlapWindow: 6),
    Configuration(channels: 6, heads: 3, window: 2, overlapWindow: 2),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.channels }
  public var heads: Int { configuration.heads }
  public var window: Int { configuration.window }
  public var overlapWindow: Int { configuration.overlapWindow }
  let projection: Linear
  let output: Linear
  let biasTable: Parameter

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try MixerError.require(
      c.channels > 0 && c.heads > 0 && c.channels % c.heads == 0 && c.window > 0
        && c.overlapWindow >= c.window
        && (c.overlapWindow - c.window) % 2 == 0, Self.name,
      "\(c.heads) heads of \(c.channels) channels, windows of \(c.window) and \(c.overlapWindow)")
    self.init(scope, checked: c)
  }

  /// As a part of a model that has checked the numbers itself.
  public init(_ scope: ParameterScope, channels: Int, heads: Int, window: Int, overlapWindow: Int) {
    self.init(
      scope,
      checked: Configuration(channels: channels, heads: heads, window: window, overlapWindow: overlapWindow))
  }

  private init(_ scope: ParameterScope, checked c: Configuration) {
    configuration = c
    projection = Linear(scope("qkv"), inputs: c.channels, outputs: 3 * c.channels)
    let side = c.window + c.overlapWindow - 1
    biasTable = scope.parameter(
      "relative_position_bias_table", [side * side, c.heads], init: .truncatedNormal(0.02))
    output = Linear(scope("proj"), inputs: c.channels, outputs: c.channels)
  }

  public func reference(_ x: Tensor) -> Tensor {
    let padded = x.padded(toMultipleOf: window)
    let (height, width) = (padded.shape[1], padded.shape[2])
    let entries = biasTable.shape[0]
    let index = RelativePosition.overlappingIndex(window: window, overlapWindow: overlapWindow)
      .map { $0 < 0 ? $0 + Int64(entries) : $0 }
    let bias = biasTable.value.indexSelected(axis: 0, Tensor(index))
      .reshaped(window * window, overlapWindow * overlapWindow, heads).permuted(2, 0, 1)
    let margin = (overlapWindow - window) / 2
    let windows = MapWindows(height: height, width: width, window: window, shift: 0)
    let attended = windows.attend(projection(padded), heads: heads, bias: bias) { pixels in
      let (top, left) = (pixels[0] / width - margin, pixels[0] % width - margin)
      let keys = (0..<overlapWindow * overlapWindow).map { i -> Int? in
        let (y, x) = (top + i / overlapWindow, left + i % overlapWindow)
        return (0..<height).contains(y) && (0..<width).contains(x) ? y * width + x : nil
      }
      return (keys, keys.map { _ in 0 })
    }
    return output(attended).croppedImage(x.shape[1], x.shape[2])
  }

  public func callAsFunction(_ x: Tensor) -> Tensor {
    self(x.padded(toMultipleOf: window), residual: nil).croppedImage(x.shape[1], x.shape[2])
  }

  /// [B, H, W, C] to the same; H and W are multiples of the window. The residual is added last.
  public func callAsFunction(_ x: Tensor, residual: Tensor?) -> Tensor {
    let attended = overlappingWindowAttention(
      projection(x), heads: heads, window: window, overlapWindow: overlapWindow, biasTable: biasTable.value)
    return output(attended, residual: residual)
  }
}
