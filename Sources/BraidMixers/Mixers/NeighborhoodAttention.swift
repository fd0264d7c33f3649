import BraidNN
import BraidTensor

/// Attention of each pixel to the window of pixels nearest to it, or of every d-th pixel around it.
///
///     o_p = Σ_{r in N(p)} softmax_r(q_p·k_r / sqrt(D) + bias[Δ]) v_r
///
/// x [batch, height, width, C]. N(p) is moved inwards at the border, so that it keeps its size, as in NATTEN; where an
/// axis is shorter than the dilated window, it is what there is. Keys as in NATTEN's layers: `qkv`, `proj`, and
/// `rpb` [heads, 2 window - 1, 2 window - 1].
/// Source: Hassani et al., "Neighborhood attention transformer", 2023; "Dilated neighborhood attention transformer",
/// 2022.
public struct NeighborhoodAttention: MapMixer {
  public struct Configuration: Codable, Hashable, Sendable {
    public var channels: Int
    public var heads: Int
    /// Odd.
    public var window: Int
    public var dilation: Int
    /// Whether relative positions have a learnt bias.
    public var relativeBias: Bool

    public init(channels: Int, heads: Int, window: Int = 7, dilation: Int = 1, relativeBias: Bool = true) {
      self.channels = channels
      self.heads = heads
      self.window = window
      self.dilation = dilation
      self.relativeBias = relativeBias
    }
  }

  public static let name = "neighborhood-attention"
  public static let examples = [
    Configuration(channels: 8, heads: 2, window: 3),
    Configuration(channels: 6, heads: 1, window: 5, dilation: 2),
    Configuration(channels: 4, heads: 2, window: 7, relativeBias: false),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.channels }
  let projection: Linear
  let output: Linear
  let bias: Parameter?

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try MixerError.require(
      c.channels > 0 && c.heads > 0 && c.channels % c.heads == 0 && c.window > 0 && c.window % 2 == 1
        && c.dilation > 0, Self.name,
      "\(c.heads) heads of \(c.channels) channels, a window of \(c.window), dilation \(c.dilation)")
    configuration = c
    projection = Linear(scope("qkv"), inputs: c.channels, outputs: 3 * c.channels)
    let side = 2 * c.window - 1
    bias = c.relativeBias ? scope.parameter("rpb", [c.heads, side, side], init: .truncatedNormal(0.02)) : nil
    output = Linear(scope("proj"), inputs: c.channels, outputs: c.channels)
  }

  public func reference(_ x: Tensor) -> Tensor {
    let c = configuration
    let (height, width) = (x.shape[1], x.shape[2])
    let parts = projected(x).map { $0.reshaped(x.shape[0], height * width, c.heads, -1) }
    let rows = Neighborhood.axis(height, window: c.window, dilation: c.dilation)
    let columns = Neighborhood.axis(width, window: c.window, dilation: c.dilation)
    let side = 2 * c.window - 1
    let attended = AttentionReference.attend(
      parts[0], parts[1], parts[2], scale: 1 / Float(channels / c.heads).squareRoot(),
      bias: bias.map { bias in
        { pixel, seen in
          let entries = seen.map { key in
            let dy = (key / width - pixel / width) / c.dilation + c.window - 1
            return Int64(dy * side + (key % width - pixel % width) / c.dilation + c.window - 1)
          }
          return bias.value.reshaped(c.heads, side * side).indexSelected(axis: 1, Tensor(entries))
        }
      }
    ) { pixel in
      rows[pixel / width].flatMap { y in columns[pixel % width].map { y * width + $0 } }
    }
    return output(attended.reshaped(x.shape))
  }

  public func callAsFunction(_ x: Tensor) -> Tensor {
    let parts = projected(x)
    let attended = neighborhoodAttention(
      parts[0], parts[1], parts[2], window: configuration.window, dilation: configuration.dilation,
      biasTable: bias?.value)
    return output(attended.reshaped(x.shape))
  }

  /// Queries, keys and values [B, H, W, heads, D].
  private func projected(_ x: Tensor) -> [Tensor] {
    let heads = configuration.heads
    let all = projection(x).reshaped(x.shape[0], x.shape[1], x.shape[2], 3, heads, channels / heads)
    return (0..<3).map { all.selected(axis: 3, $0) }
  }
}
