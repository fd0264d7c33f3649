import BraidNN
import BraidTensor

/// Attention within windows of a map, shifted or not, with a learnt bias for each relative position.
///
///     o = softmax(q kᵀ / sqrt(d) + bias[Δ] + mask) v        for each window and head
///
/// x [batch, height, width, C]. With a shift the windows lie further down and right, cyclically, and the mask takes 100
/// from scores across the seam. A map that the windows do not tile is padded at the bottom and the right with zeros,
/// which take part, and cut again: as in the published Swin block for dense prediction. (HAT mirrors the whole picture
/// instead, before its first layer.) Keys as in Swin and HAT: `qkv`, `proj`, `relative_position_bias_table`
/// [(2 window - 1)², heads].
/// Source: Liu et al., "Swin Transformer", 2021, section 3.2.
public struct WindowAttention: MapMixer {
  public struct Configuration: Codable, Hashable, Sendable {
    public var channels: Int
    public var heads: Int
    public var window: Int
    /// Pixels that the windows are shifted down and right.
    public var shift: Int

    public init(channels: Int, heads: Int, window: Int, shift: Int = 0) {
      self.channels = channels
      self.heads = heads
      self.window = window
      self.shift = shift
    }
  }

  public static let name = "window-attention"
  public static let examples = [
    Configuration(channels: 8, heads: 2, window: 4),
    Configuration(channels: 6, heads: 1, window: 5, shift: 2),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.channels }
  public var heads: Int { configuration.heads }
  public var window: Int { configuration.window }
  let projection: Linear
  let output: Linear
  let biasTable: Parameter

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try MixerError.require(
      c.channels > 0 && c.heads > 0 && c.channels % c.heads == 0 && c.window > 0
        && (0..<c.window).contains(c.shift), Self.name,
      "\(c.heads) heads of \(c.channels) channels, a window of \(c.window), a shift of \(c.shift)")
    self.init(scope, checked: c, init: nil)
  }

  /// As a part of a model that has checked the numbers itself.
  public init(
    _ scope: ParameterScope, channels: Int, heads: Int, window: Int, init initializer: Initializer? = nil
  ) {
    self.init(
      scope, checked: Configuration(channels: channels, heads: heads, window: window), init: initializer)
  }

  private init(_ scope: ParameterScope, checked c: Configuration, init initializer: Initializer?) {
    configuration = c
    projection = Linear(scope("qkv"), inputs: c.channels, outputs: 3 * c.channels, init: initializer)
    output = Linear(scope("proj"), inputs: c.channels, outputs: c.channels, init: initializer)
    biasTable = scope.parameter(
      "relative_position_bias_table", [(2 * c.window - 1) * (2 * c.window - 1), c.heads],
      init: .truncatedNormal(0.02))
  }

  public func reference(_ x: Tensor) -> Tensor {
    let (window, shift) = (configuration.window, configuration.shift)
    let padded = x.padded(toMultipleOf: window)
    let (height, width) = (padded.shape[1], padded.shape[2])
    let table = biasTable.value.indexSelected(axis: 0, Tensor(RelativePosition.index(window: window)))
    let bias = table.reshaped(window * window, window * window, heads).permuted(2, 0, 1)
    let windows = MapWindows(height: height, width: width, window: window, shift: shift)
    let attended = windows.attend(projection(padded), heads: heads, bias: bias) { pixels in
      (pixels.map { $0 }, pixels.map(windows.region))
    }
    return output(attended).croppedImage(x.shape[1], x.shape[2])
  }

  public func callAsFunction(_ x: Tensor) -> Tensor {
    let shift = configuration.shift
    let padded = x.padded(toMultipleOf: window)
    return self(padded, shift: (shift, shift)).croppedImage(x.shape[1], x.shape[2])
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
