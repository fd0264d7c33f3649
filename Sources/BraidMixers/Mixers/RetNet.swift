import BraidNN
import BraidTensor
import Foundation

/// Multi-scale retention: linear attention whose heads forget at fixed rates.
///
///     q, k = rotary(W h), v = W_v h, heads
///     S_t = γ_h S_{t-1} + k_tᵀ v_t;   o_t = q_t S_t / √K;   γ_h = 1 - 2^(-5 - h)        [K, V] a head
///     out = W_o (RMSNorm(o) ⊙ SiLU(W_g h))
///
/// h [batch, length, C], heads from 0. Parameters are laid out and named as in flash-linear-attention.
/// Source: Sun et al., "Retentive network: a successor to transformer", 2023.
public struct RetNet: CausalMixer {
  public struct Configuration: Codable, Hashable, Sendable {
    public var layout: LinearAttentionLayout
    public var rotary: RotaryEmbedding?

    public init(layout: LinearAttentionLayout, rotary: RotaryEmbedding?) {
      self.layout = layout
      self.rotary = rotary
    }

    /// Values of twice the keys' width, as published.
    public init(channels: Int, heads: Int) {
      let width = channels / max(1, heads)
      self.init(
        layout: LinearAttentionLayout(
          channels: channels, heads: heads, keyWidth: width, valueWidth: 2 * width),
        rotary: RotaryEmbedding(dimensions: width))
    }
  }

  public static let name = "retnet"
  public static let examples = [
    Configuration(channels: 12, heads: 2),
    Configuration(
      layout: LinearAttentionLayout(
        channels: 8, heads: 4, keyHeads: 2, keyWidth: 5, valueWidth: 3, featureMap: .elu, kernelSize: 3,
        isGated: false),
      rotary: nil),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.layout.channels }
  let heads: LinearAttentionHeads
  let logDecays: Tensor

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try c.layout.validate(for: Self.name)
    if let problem = c.rotary?.problem(headWidth: c.layout.keyWidth) {
      throw MixerError.configuration(mixer: Self.name, reason: problem)
    }
    configuration = c
    heads = LinearAttentionHeads(scope, c.layout)
    logDecays = Tensor((0..<c.layout.heads).map { Float(log1p(-pow(2, -5 - Double($0)))) })
  }

  /// Queries and keys turned; the first stands at `position`.
  private func turned(_ parts: LinearAttentionHeads.Parts, from position: Int) -> LinearAttentionHeads.Parts {
    guard let rotary = configuration.rotary else { return parts }
    var parts = parts
    parts.q = rotary.rotated(parts.q, from: position)
    parts.k = rotary.rotated(parts.k, from: position)
    return parts
  }

  public func reference(_ x: Tensor) -> Tensor {
    let parts = turned(heads.reference(x), from: 0)
    let o = literalLinearAttention(
      parts.q, parts.k, parts.v, logDecay: logDecays.reshaped(1, 1, -1, 1), scale: configuration.layout.scale)
    return heads.finished(o, x)
  }

  public func initialState(batch: Int) -> MixerState { heads.initialState(batch: batch) }

  public func prefill(_ x: Tensor, state: inout MixerState) -> Tensor {
    let parts = turned(heads(x, state: &state), from: state.position)
    let (o, last) = decayedLinearAttention(
      parts.q, parts.k, parts.v, logDecay: logDecays, scale: configuration.layout.scale,
      initialState: state["attention"])
    state["attention"] = last
    state.position += x.shape[1]
    return heads.finished(o, x)
  }
}
