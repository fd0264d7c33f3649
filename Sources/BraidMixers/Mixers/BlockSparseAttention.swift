import BraidNN
import BraidTensor

/// Softmax attention of blocks of queries to the blocks of keys that their means point to; every position may see
/// every other.
///
///     q̄_I = mean of q over block I;    k̄_J = mean of (k - centre) over block J
///     S_I = the ⌊share · blocks⌋ blocks J (one at least) of largest q̄_I·k̄_J,  for each head
///     o_i = Σ_{j in blocks S_I} softmax_j(scale q_i·k_j) v_j          for i in block I
///
/// x [batch, length, channels]. The centre is the mean of the keys over positions (SLA) or, as published for Hybrid
/// Forcing, over heads. Work falls with the share. Routes are noted by `RouteBook`.
/// Source: Zhang et al., "SLA", 2025; Hybrid Forcing, 2026 (`hybrid_causal_model_infer`).
public struct BlockSparseAttention: SequenceMixer {
  public struct Configuration: Codable, Hashable, Sendable {
    public var heads: AttentionHeads
    public var queryBlock: Int
    /// At most 256.
    public var keyBlock: Int
    /// The share of the key blocks that is kept.
    public var share: Float
    public var centring: BlockCentring

    public init(
      _ heads: AttentionHeads, queryBlock: Int = 64, keyBlock: Int = 64, share: Float = 0.2,
      centring: BlockCentring = .positions
    ) {
      self.heads = heads
      self.queryBlock = queryBlock
      self.keyBlock = keyBlock
      self.share = share
      self.centring = centring
    }
  }

  public static let name = "block-sparse-attention"
  public static let examples = [
    Configuration(
      AttentionHeads(channels: 8, heads: 2, keyHeads: 1, rotary: RotaryEmbedding(dimensions: 4)),
      queryBlock: 16, keyBlock: 8, share: 0.3),
    Configuration(
      AttentionHeads(channels: 8, heads: 2, bias: true, norm: .init(.layer)), queryBlock: 40, keyBlock: 32,
      share: 0.5, centring: .heads),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.heads.channels }
  let projections: AttentionProjections

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try MixerError.require(
      c.queryBlock > 0 && (1...256).contains(c.keyBlock) && c.share > 0 && c.share <= 1, Self.name,
      "blocks of \(c.queryBlock) by \(c.keyBlock), a share of \(c.share)")
    configuration = c
    projections = try AttentionProjections(scope, c.heads, mixer: Self.name)
  }

  public func reference(_ x: Tensor) -> Tensor {
    let (q, k, v, gate) = projections.project(x, from: 0)
    let selection = select(q, k)
    let c = configuration
    let (heads, length) = (c.heads.heads, x.shape[1])
    let numbers = selection.blocks.elements(as: Int32.self)
    let (rows, kept) = (selection.blocks.shape[1], selection.blocks.shape[3])
    // Items and heads choose for themselves: one after the other.
    let outputs = (0..<x.shape[0]).map { item in
      let parts = (0..<heads).map { head in
        func own(_ x: Tensor, _ head: Int) -> Tensor {
          x.sliced(axis: 0, item..<item + 1).sliced(axis: 2, head..<head + 1)
        }
        let keyHead = head * c.heads.keyHeads / heads
        return AttentionReference.attend(
          own(q, head), own(k, keyHead), own(v, keyHead), scale: c.heads.scoreScale, softCap: c.heads.softCap,
          sinks: projections.sinks?.value.sliced(axis: 0, head..<head + 1)
        ) { i in
          let row = ((item * rows + i / c.queryBlock) * heads + head) * kept
          return numbers[row..<row + kept].filter { $0 >= 0 }.sorted().flatMap {
            Int($0) * c.keyBlock..<min(length, (Int($0) + 1) * c.keyBlock)
          }
        }
      }
      return Tensor.concatenated(parts, axis: 2)
    }
    return projections.finish(Tensor.concatenated(outputs, axis: 0), gate: gate)
  }

  public func callAsFunction(_ x: Tensor) -> Tensor {
    let (q, k, v, gate) = projections.project(x, from: 0)
    let heads = configuration.heads
    let attended = blockSparseAttention(
      q, k, v, selection: select(q, k), scale: heads.scoreScale, softCap: heads.softCap,
      sinks: projections.sinks?.value)
    return projections.finish(attended, gate: gate)
  }

  private func select(_ queries: Tensor, _ keys: Tensor) -> BlockSelection {
    let c = configuration
    let rows = (queries.shape[1] + c.queryBlock - 1) / c.queryBlock
    // Another length has other blocks.
    let blocks = RouteBook.route("\(projections.path) \(queries.shape[1])", from: 0, count: rows) {
      BlockSelection.byMeans(
        queries, keys, queryBlock: c.queryBlock, keyBlock: c.keyBlock, share: c.share, centring: c.centring
      ).blocks
    }
    return BlockSelection(blocks: blocks, queryBlock: c.queryBlock, keyBlock: c.keyBlock)
  }
}

/// What keys are measured from when the means of their blocks are compared with queries.
public enum BlockCentring: String, Codable, Sendable {
  case none
  /// The mean over all positions, for each head.
  case positions
  /// The mean over the heads, for each position (Hybrid Forcing as published).
  case heads
}

extension BlockSelection {
  /// For each block of queries and head, the ⌊share · key blocks⌋ (one at least) blocks of largest mean score.
  ///
  /// - Parameters:
  ///   - queries: [B, Lq, H, D].
  ///   - keys: [B, Lk, Hk, D].
  public static func byMeans(
    _ queries: Tensor, _ keys: Tensor, queryBlock: Int, keyBlock: Int, share: Float,
    centring: BlockCentring = .none
  ) -> BlockSelection {
    withoutGradient {
      var keys = keys.detached
      switch centring {
      case .none: break
      case .positions: keys = keys - keys.mean(axes: [1], keepingAxes: true)
      case .heads: keys = keys - keys.mean(axes: [2], keepingAxes: true)
      }
      let q = queries.detached.blockMeans(queryBlock).transposed(1, 2)  // [B, H, I, D]
      let k = keys.blockMeans(keyBlock).permuted(0, 2, 3, 1)  // [B, Hk, D, J]
      let (batch, heads, rows, count) = (q.shape[0], q.shape[1], q.shape[2], k.shape[3])
      let grouped = q.reshaped(batch, k.shape[1], heads / k.shape[1], rows, q.shape[3])
      let scores = matmul(grouped, k.unsqueezed(2)).reshaped(batch, heads, rows, count)
      let kept = Swift.max(1, Int(share * Float(count)))
      let blocks = scores.read { scores in
        Tensor.build([batch, rows, heads, kept], as: Int32.self) { out in
          parallelRanges(batch * rows * heads, minimum: Swift.max(1, 4096 / Swift.max(count, 1))) { range in
            for row in range {
              let (place, head) = row.quotientAndRemainder(dividingBy: heads)
              let (item, block) = place.quotientAndRemainder(dividingBy: rows)
              LargestScores.write(
                scores + ((item * heads + head) * rows + block) * count, count, count: kept, offset: 0,
                to: out + row * kept)
            }
          }
        }
      }
      return BlockSelection(blocks: blocks, queryBlock: queryBlock, keyBlock: keyBlock)
    }
  }
}
