import BraidNN
import BraidTensor
import Foundation

/// Linear attention with a fixed decay a head (Lightning attention of MiniMax).
///
///     [q, k, v] = SiLU(W_qkv x)                                                  a head's q, k, v stand together
///     S_t = exp(-s_h) S_{t-1} + k_tᵀ v_t;   o_t = q_t S_t                         [D, D] a head
///     out = W_o (σ(W_g x) ⊙ RMSNorm(o));   s_h = 2^(-8 h / H) (1 - l / (L - 1 + ε) + ε),  ε = 1e-5
///
/// x [batch, length, C], h = 1 ... H; l is the layer of L. Names as in the published MiniMax checkpoints.
/// Source: MiniMax, "MiniMax-01: scaling foundation models with lightning attention", 2025, section 2.2.
public struct LightningAttention: CausalMixer {
  public struct Configuration: Codable, Hashable, Sendable {
    public var channels: Int
    /// H
    public var heads: Int
    /// D
    public var headSize: Int
    /// l, from 0.
    public var layer: Int
    /// L
    public var layerCount: Int
    public var normEpsilon: Float

    /// - Parameter headSize: channels / heads where nil.
    public init(
      channels: Int, heads: Int, headSize: Int? = nil, layer: Int = 0, layerCount: Int = 1,
      normEpsilon: Float = 1e-6
    ) {
      self.channels = channels
      self.heads = heads
      self.headSize = headSize ?? channels / max(1, heads)
      self.layer = layer
      self.layerCount = layerCount
      self.normEpsilon = normEpsilon
    }

    /// -s_h for every head.
    public var logDecays: [Float] {
      let factor = 1 - Double(layer) / (Double(layerCount - 1) + 1e-5) + 1e-5
      return (1...heads).map { Float(-pow(2, -8 * Double($0) / Double(heads)) * factor) }
    }
  }

  public static let name = "lightning-attention"
  public static let examples = [
    Configuration(channels: 12, heads: 3, layer: 1, layerCount: 4),
    Configuration(channels: 8, heads: 2, headSize: 7, layer: 3, layerCount: 4),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.channels }
  let input: Linear
  let gate: Linear
  let norm: Parameter
  let output: Linear
  let logDecays: Tensor

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try MixerError.require(
      min(c.channels, c.heads, c.headSize) > 0 && c.normEpsilon >= 0
        && (0..<max(0, c.layerCount)).contains(c.layer),
      Self.name,
      "\(c.channels) channels, \(c.heads) heads of \(c.headSize), layer \(c.layer) of \(c.layerCount), norm epsilon "
        + "\(c.normEpsilon)")
    configuration = c
    let inner = c.heads * c.headSize
    input = Linear(scope("qkv_proj"), inputs: c.channels, outputs: 3 * inner, bias: false)
    gate = Linear(scope("output_gate"), inputs: c.channels, outputs: inner, bias: false)
    norm = scope("norm").parameter("weight", [inner], init: .ones)
    output = Linear(scope("out_proj"), inputs: inner, outputs: c.channels, bias: false)
    logDecays = Tensor(c.logDecays)
  }

  /// (q, k, v), each [batch, length, H, D].
  private func projected(_ x: Tensor) -> [Tensor] {
    let c = configuration
    return input(x, activation: .silu).reshaped(x.shape[0], x.shape[1], c.heads, 3 * c.headSize)
      .split(into: 3, axis: -1)
  }

  /// The layer's output from o [batch, length, H, D].
  private func finished(_ o: Tensor, _ x: Tensor) -> Tensor {
    let o = o.reshaped(x.shape[0], x.shape[1], -1)
    return output(
      gate(x, activation: .sigmoid) * o.rmsNorm(weight: norm.value, epsilon: configuration.normEpsilon))
  }

  public func reference(_ x: Tensor) -> Tensor {
    let parts = projected(x)
    let decay = logDecays.exp().reshaped(-1, 1, 1)
    var state = initialState(batch: x.shape[0])["attention"]
    let outputs = (0..<x.shape[1]).map { t in
      let (q, k, v) = (
        parts[0].selected(axis: 1, t), parts[1].selected(axis: 1, t), parts[2].selected(axis: 1, t)
      )
      state = decay * state + k.unsqueezed(-1) * v.unsqueezed(-2)
      return (q.unsqueezed(-1) * state).sum(axes: [-2])
    }
    return finished(Tensor.stacked(outputs, axis: 1), x)
  }

  public func initialState(batch: Int) -> MixerState {
    let c = configuration
    return MixerState(["attention": .zeros([batch, c.heads, c.headSize, c.headSize])])
  }

  public func prefill(_ x: Tensor, state: inout MixerState) -> Tensor {
    let parts = projected(x)
    let (o, last) = decayedLinearAttention(
      parts[0], parts[1], parts[2], logDecay: logDecays, initialState: state["attention"])
    state["attention"] = last
    state.position += x.shape[1]
    return finished(o, x)
  }
}
