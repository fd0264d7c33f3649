import BraidNN
import BraidTensor

/// Causal softmax attention to a window, the first positions, and every so many blocks of positions.
///
///     m_ij = 1 where j < sinkTokens, or i - j < window, or (⌊i / block⌋ - ⌊j / block⌋) mod stride = 0;   j ≤ i
///     o_i = Σ_{j: m_ij} softmax_j(scale q_i·k_j) v_j
///
/// x [batch, length, channels]. Blocks that see nothing of each other cost nothing. The state holds all keys and
/// values, since every block comes into view again.
/// Source: Ge et al., "A little goes a long way" (LongGen), 2024.
public struct StridedBlockAttention: CausalMixer {
  public struct Configuration: Codable, Hashable, Sendable {
    public var heads: AttentionHeads
    public var window: Int
    public var sinkTokens: Int
    /// Positions of a block, at most 256.
    public var block: Int
    public var stride: Int

    public init(_ heads: AttentionHeads, window: Int, sinkTokens: Int = 0, block: Int = 64, stride: Int) {
      self.heads = heads
      self.window = window
      self.sinkTokens = sinkTokens
      self.block = block
      self.stride = stride
    }
  }

  public static let name = "strided-block-attention"
  public static let examples = [
    Configuration(
      AttentionHeads(channels: 8, heads: 2, keyHeads: 1, rotary: RotaryEmbedding(dimensions: 4)), window: 20,
      sinkTokens: 3, block: 16, stride: 4),
    Configuration(AttentionHeads(channels: 8, heads: 2), window: 1, block: 5, stride: 2),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.heads.channels }
  let projections: AttentionProjections

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try MixerError.require(
      c.window > 0 && c.sinkTokens >= 0 && (1...256).contains(c.block) && c.stride > 0, Self.name,
      "a window of \(c.window), \(c.sinkTokens) sink tokens, blocks of \(c.block), stride \(c.stride)")
    configuration = c
    projections = try AttentionProjections(scope, c.heads, mixer: Self.name)
  }

  public func reference(_ x: Tensor) -> Tensor {
    let c = configuration
    let (q, k, v, gate) = projections.project(x, from: 0)
    let attended = projections.attendReference(q, k, v) { i in
      (0...i).filter { j in
        j < c.sinkTokens || i - j < c.window || (i / c.block - j / c.block) % c.stride == 0
      }
    }
    return projections.finish(attended, gate: gate)
  }

  public func initialState(batch: Int) -> MixerState { projections.emptyCache(batch: batch) }

  public func prefill(_ x: Tensor, state: inout MixerState) -> Tensor {
    let c = configuration
    let (q, k, v, gate) = projections.project(x, from: state.position)
    state.append(k, to: "keys")
    state.append(v, to: "values")
    state.position += x.shape[1]
    let attended = stridedBlockAttention(
      q, state["keys"], state["values"], block: c.block, stride: c.stride, window: c.window,
      always: c.sinkTokens, scale: c.heads.scoreScale, softCap: c.heads.softCap,
      sinks: projections.sinks?.value)
    return projections.finish(attended, gate: gate)
  }
}
