import BraidNN
import BraidTensor

/// Causal softmax attention of each query to the blocks of keys whose means it likes best, the first ones, and its own
/// surroundings.
///
///     k̄_J = mean of the keys of block J, once it is full
///     s_tJ = Σ_{h of a key head} softmax_J(scale q_{t,h}·k̄_J)    over the full blocks between first and local ones
///     o_t = Σ_j softmax_j(scale q_t·k_j) v_j     over j ≤ t in the first `sinkBlocks`, the last `localBlocks`
///                                                (its own included) and the `kept` others of largest s_tJ
///
/// x [batch, length, channels]. Heads that share keys share their choice. The state holds keys, values, and the means
/// of full blocks. Routes are noted by `RouteBook`.
/// Source: InfLLM-v2 (Zhao et al., 2025), as in MiniCPM-SALA, with means of whole blocks.
public struct TopKBlockAttention: CausalMixer {
  public struct Configuration: Codable, Hashable, Sendable {
    public var heads: AttentionHeads
    public var block: Int
    /// Blocks that a query chooses, besides first and local ones.
    public var kept: Int
    public var sinkBlocks: Int
    /// At least 1: the query's own.
    public var localBlocks: Int

    public init(
      _ heads: AttentionHeads, block: Int = 64, kept: Int = 16, sinkBlocks: Int = 1, localBlocks: Int = 2
    ) {
      self.heads = heads
      self.block = block
      self.kept = kept
      self.sinkBlocks = sinkBlocks
      self.localBlocks = localBlocks
    }
  }

  public static let name = "top-k-block-attention"
  public static let examples = [
    Configuration(
      AttentionHeads(channels: 8, heads: 2, keyHeads: 1, rotary: RotaryEmbedding(dimensions: 4)), block: 16,
      kept: 3, sinkBlocks: 1, localBlocks: 2),
    Configuration(
      AttentionHeads(channels: 8, heads: 2, softCap: 4, gated: true), block: 5, kept: 2, sinkBlocks: 0,
      localBlocks: 1),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.heads.channels }
  let projections: AttentionProjections

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try MixerError.require(
      c.block > 0 && c.kept >= 0 && c.sinkBlocks >= 0 && c.localBlocks > 0, Self.name,
      "blocks of \(c.block): \(c.kept) kept, \(c.sinkBlocks) first, \(c.localBlocks) local")
    configuration = c
    projections = try AttentionProjections(scope, c.heads, mixer: Self.name)
  }

  public func reference(_ x: Tensor) -> Tensor {
    let c = configuration
    let (q, k, v, gate) = projections.project(x, from: 0)
    let route = route(q, means(of: k), from: 0)
    let numbers = route.elements(as: Int32.self)
    let (length, kept) = (x.shape[1], route.shape[3])
    let group = c.heads.heads / c.heads.keyHeads
    let outputs = (0..<x.shape[0]).map { item in
      let parts = (0..<c.heads.keyHeads).map { head in
        func own(_ x: Tensor, _ heads: Range<Int>) -> Tensor {
          x.sliced(axis: 0, item..<item + 1).sliced(axis: 2, heads)
        }
        let heads = head * group..<(head + 1) * group
        return AttentionReference.attend(
          own(q, heads), own(k, head..<head + 1), own(v, head..<head + 1), scale: c.heads.scoreScale,
          softCap: c.heads.softCap, sinks: projections.sinks?.value.sliced(axis: 0, heads)
        ) { t in
          let row = ((item * length + t) * c.heads.keyHeads + head) * kept
          return numbers[row..<row + kept].filter { $0 >= 0 }.sorted().flatMap {
            Int($0) * c.block..<min(t + 1, (Int($0) + 1) * c.block)
          }
        }
      }
      return Tensor.concatenated(parts, axis: 2)
    }
    return projections.finish(Tensor.concatenated(outputs, axis: 0), gate: gate)
  }

  public func initialState(batch: Int) -> MixerState {
    var state = projections.emptyCache(batch: batch)
    state["means"] = state["keys"]
    return state
  }

  public func prefill(_ x: Tensor, state: inout MixerState) -> Tensor {
    let c = configuration
    let past = state.position
    let (q, k, v, gate) = projections.project(x, from: past)
    state.append(k, to: "keys")
    state.append(v, to: "values")
    state.position += x.shape[1]
    let keys = state["keys"]
    let (had, full) = (past / c.block, state.position / c.block)
    if full > had {
      state.append(means(of: keys.sliced(axis: 1, had * c.block..<full * c.block)), to: "means")
    }
    let route = route(q, state["means"], from: past)
    let attended = blockSparseAttention(
      q, keys, state["values"], selection: BlockSelection(blocks: route, queryBlock: 1, keyBlock: c.block),
      causal: true, scale: c.heads.scoreScale, softCap: c.heads.softCap, sinks: projections.sinks?.value)
    return projections.finish(attended, gate: gate)
  }

  /// The means of the full blocks, for choices alone.
  private func means(of keys: Tensor) -> Tensor {
    let full = keys.shape[1] / configuration.block * configuration.block
    return full == 0
      ? keys.detached.sliced(axis: 1, 0..<0)
      : withoutGradient { keys.detached.sliced(axis: 1, 0..<full).blockMeans(configuration.block) }
  }

  /// int32 [B, L, keyHeads, sinkBlocks + localBlocks + kept]: the blocks that each query visits, -1 for none.
  private func route(_ queries: Tensor, _ means: Tensor, from position: Int) -> Tensor {
    RouteBook.route(projections.path, from: position, count: queries.shape[1]) {
      withoutGradient { choose(queries.detached, means.detached, from: position) }
    }
  }

  private func choose(_ queries: Tensor, _ means: Tensor, from position: Int) -> Tensor {
    let c = configuration
    let (batch, length, keyHeads) = (queries.shape[0], queries.shape[1], c.heads.keyHeads)
    let (group, count) = (c.heads.heads / keyHeads, means.shape[1])
    let width = c.sinkBlocks + c.localBlocks + c.kept
    // [B, Hk, group, L, D] by [B, Hk, 1, D, J]
    let q = queries.reshaped(batch, length, keyHeads, group, c.heads.headWidth).permuted(0, 2, 3, 1, 4)
    let scores =
      count == 0 || c.kept == 0
      ? nil : matmul(q, means.permuted(0, 2, 3, 1).unsqueezed(2)) * c.heads.scoreScale
    func fill(_ scores: UnsafePointer<Float>?) -> Tensor {
      Tensor.build([batch, length, keyHeads, width], as: Int32.self) { out in
        parallelRanges(batch * length * keyHeads, minimum: max(1, 2048 / max(count, 1))) { range in
          withUnsafeTemporaryAllocation(of: Float.self, capacity: max(count, 1)) { sums in
            for row in range {
              let (place, head) = row.quotientAndRemainder(dividingBy: keyHeads)
              let (item, t) = place.quotientAndRemainder(dividingBy: length)
              let out = out + row * width
              out.update(repeating: -1, count: width)
              let own = (position + t) / c.block
              let local = max(0, own - c.localBlocks + 1)
              for i in 0..<min(c.sinkBlocks, local) { out[i] = Int32(i) }
              for i in local...own { out[c.sinkBlocks + i - local] = Int32(i) }
              let candidates = c.sinkBlocks..<max(c.sinkBlocks, local)
              guard let scores, !candidates.isEmpty else { continue }
              sums.baseAddress!.update(repeating: 0, count: candidates.count)
              for member in 0..<group {
                let line = scores + (((item * keyHeads + head) * group + member) * length + t) * count
                LargestScores.addSoftmax(
                  line + candidates.lowerBound, candidates.count, to: sums.baseAddress!)
              }
              LargestScores.write(
                sums.baseAddress!, candidates.count, count: c.kept, offset: candidates.lowerBound,
                to: out + c.sinkBlocks + c.localBlocks)
            }
          }
        }
      }
    }
    return scores.map { $0.read(fill) } ?? fill(nil)
  }
}
