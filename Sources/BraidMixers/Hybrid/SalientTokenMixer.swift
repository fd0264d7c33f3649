import BraidNN
import BraidTensor

/// Softmax attention to salient tokens and linear attention to the rest, under one normalisation.
///
///     o_t = (Σ_{j in E_t} exp(q_t·k_j / √K) v_j + φ(q_t) S) / (Σ_{j in E_t} exp(q_t·k_j / √K) + φ(q_t)·z)
///     S = Σ_{j in R_t} φ(k_j)ᵀ v_j;   z = Σ_{j in R_t} φ(k_j);   φ(x) = |x| f(x) / |f(x)|,  f(x) = elu(W x) + 1
///
/// x [batch, length, channels]; for each head. A token's saliency for a key head is the mean of q·k / √K over the query
/// heads that share it, at its own position. When a block of tokens is complete, its `kept` most salient ones stay as
/// keys and values (E), the others enter S and z (R); until then the whole block is in E. So the choice looks at no
/// later token, and the state grows by `kept` rows a block.
/// Source: STILL, 2026: routing by self-saliency and the norm-preserving map; no code is public, so blocks and f are
/// stated here. Choices are noted by `RouteBook`.
public struct SalientTokenMixer: CausalMixer {
  public struct Configuration: Codable, Hashable, Sendable {
    /// Norms of queries and keys, rotary embedding and biases count; caps, sinks and gates do not.
    public var heads: AttentionHeads
    /// Tokens that are routed together.
    public var block: Int
    /// Tokens of a block that stay in the softmax.
    public var kept: Int

    public init(_ heads: AttentionHeads, block: Int = 64, kept: Int = 8) {
      self.heads = heads
      self.block = block
      self.kept = kept
    }
  }

  public static let name = "salient-tokens"
  public static let examples = [
    Configuration(
      AttentionHeads(channels: 12, heads: 4, keyHeads: 2, headWidth: 6, rotary: .init(dimensions: 6)),
      block: 16,
      kept: 3),
    Configuration(AttentionHeads(channels: 8, heads: 2, norm: .init(.head)), block: 9, kept: 9),
    Configuration(AttentionHeads(channels: 8, heads: 2), block: 5, kept: 0),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.heads.channels }
  let projections: AttentionProjections
  private let queryMap, keyMap: Parameter
  /// The place of the parameters in the model.
  private let path: String

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try MixerError.require(
      c.block > 0 && (0...c.block).contains(c.kept) && c.heads.softCap == nil && !c.heads.learntSinks,
      Self.name,
      "blocks of \(c.block) of which \(c.kept) stay; soft caps and sinks are not known here")
    configuration = c
    path = scope.path
    projections = try AttentionProjections(scope, c.heads, mixer: Self.name)
    let width = c.heads.headWidth
    func map(_ name: String, _ count: Int) -> Parameter {
      scope(name).parameter("weight", [count, width, width], init: .fanIn(width))
    }
    queryMap = map("feature_map_q", c.heads.heads)
    keyMap = map("feature_map_k", c.heads.keyHeads)
  }

  private var group: Int { configuration.heads.heads / configuration.heads.keyHeads }

  /// φ of queries or keys [B, L, H, K].
  private func mapped(_ x: Tensor, _ map: Parameter) -> Tensor {
    let f = matmul(x.transposed(1, 2), map.value.transposed()).transposed(1, 2).elu() + 1
    let norm = x.squared().sum(axes: [-1], keepingAxes: true)
    let length = f.squared().sum(axes: [-1], keepingAxes: true)
    // Keys of norm 0 have no direction; the small number keeps their gradient finite.
    return f * ((norm + 1e-12) / length).squareRoot()
  }

  /// Saliency [B, L, key heads].
  private func saliency(_ q: Tensor, _ k: Tensor) -> Tensor {
    let s = q.shape
    let grouped = q.reshaped(s[0], s[1], s[2] / group, group, s[3])
    return (grouped.detached * k.detached.unsqueezed(3)).sum(axes: [-1]).mean(axes: [-1])
  }

  /// The positions within block `number` that stay: [B, kept, key heads], of saliencies [B, block, key heads].
  private func chosen(_ saliency: Tensor, number: Int) -> Tensor {
    RouteBook.route("\(path) block \(number)", from: 0, count: configuration.kept) {
      saliency.topK(configuration.kept, axis: 1).indices
    }
  }

  public func reference(_ x: Tensor) -> Tensor {
    let c = configuration
    let (batch, length, heads, width) = (x.shape[0], x.shape[1], c.heads.keyHeads, c.heads.headWidth)
    let (q, k, v, gate) = projections.project(x, from: 0)
    let (fq, fk) = (mapped(q, queryMap), mapped(k, keyMap))
    let salient = saliency(q, k)
    // Which positions stay, for each item and key head.
    var stays: [[[Bool]]] = Array(
      repeating: Array(repeating: Array(repeating: false, count: length), count: heads), count: batch)
    for start in stride(from: 0, to: length / c.block * c.block, by: c.block) where c.kept > 0 {
      let picked = chosen(salient.sliced(axis: 1, start..<start + c.block), number: start / c.block)
        .elements(as: Int64.self)
      for (i, position) in picked.enumerated() {
        stays[i / (c.kept * heads)][i % heads][start + Int(position)] = true
      }
    }
    let items = (0..<batch).map { b in
      let perHead = (0..<heads).map { h in
        func own(_ x: Tensor, _ heads: Range<Int>) -> Tensor {
          x.selected(axis: 0, b).sliced(axis: 1, heads)
        }
        let (qh, fqh) = (own(q, h * group..<(h + 1) * group), own(fq, h * group..<(h + 1) * group))
        let (kh, fkh, vh) = (
          own(k, h..<h + 1).squeezed(1), own(fk, h..<h + 1).squeezed(1), own(v, h..<h + 1).squeezed(1)
        )
        var (s, z) = (Tensor.zeros([width, width]), Tensor.zeros([width]))
        var exact: [Int] = []
        var open: [Int] = []
        return Tensor.stacked(
          (0..<length).map { t in
            open.append(t)
            let seen = Tensor((exact + open).map(Int64.init))
            let scores =
              matmul(qh.selected(axis: 0, t), kh.indexSelected(axis: 0, seen).transposed())
              * c.heads.scoreScale
            let most = Tensor.maximum(scores.max(axes: [-1], keepingAxes: true), Tensor(0)).detached
            let weights = (scores - most).exp()
            let linear = fqh.selected(axis: 0, t) * (-most).exp()
            let above = matmul(weights, vh.indexSelected(axis: 0, seen)) + matmul(linear, s)
            let below =
              weights.sum(axes: [-1], keepingAxes: true) + (linear * z).sum(axes: [-1], keepingAxes: true)
            if open.count == c.block {
              for j in open {
                if stays[b][h][j] {
                  exact.append(j)
                } else {
                  let f = fkh.selected(axis: 0, j)
                  s = s + f.unsqueezed(1) * vh.selected(axis: 0, j).unsqueezed(0)
                  z = z + f
                }
              }
              open = []
            }
            return above / below
          })
      }
      return Tensor.concatenated(perHead, axis: 1)
    }
    return projections.finish(Tensor.stacked(items), gate: gate)
  }

  public func initialState(batch: Int) -> MixerState {
    let heads = configuration.heads
    func empty(_ width: Int) -> Tensor { .zeros([batch, 0, heads.keyHeads, width]) }
    let (width, count) = (heads.headWidth, heads.keyHeads)
    return MixerState([
      "keys": empty(width), "values": empty(width), "block keys": empty(width), "block values": empty(width),
      "block saliency": .zeros([batch, 0, count]), "sums": .zeros([batch, count, width, width]),
      "normalizer": .zeros([batch, count, width]),
    ])
  }

  public func prefill(_ x: Tensor, state: inout MixerState) -> Tensor {
    let c = configuration
    let (q, k, v, gate) = projections.project(x, from: state.position)
    let fq = mapped(q, queryMap)
    let salient = saliency(q, k)
    var outputs: [Tensor] = []
    var start = 0
    while start < x.shape[1] {
      let open = state.rowCount("block keys")
      let range = start..<min(x.shape[1], start + c.block - open)
      func part(_ x: Tensor) -> Tensor { x.sliced(axis: 1, range) }
      state.append(part(k), to: "block keys")
      state.append(part(v), to: "block values")
      state.append(part(salient), to: "block saliency")
      outputs.append(attend(part(q), part(fq), state, open: open))
      state.position += range.count
      if open + range.count == c.block { close(&state, number: state.position / c.block - 1) }
      start = range.upperBound
    }
    let attended = outputs.count == 1 ? outputs[0] : Tensor.concatenated(outputs, axis: 1)
    return projections.finish(attended, gate: gate)
  }

  /// The outputs of queries of the open block, of which `open` positions stood before them.
  private func attend(_ q: Tensor, _ fq: Tensor, _ state: MixerState, open: Int) -> Tensor {
    let (batch, n, heads, width) = (q.shape[0], q.shape[1], configuration.heads.keyHeads, q.shape[3])
    // [B, key heads, group n, K]: the queries that share a key head stand below each other.
    func grouped(_ x: Tensor) -> Tensor {
      x.reshaped(batch, n, heads, group, width).permuted(0, 2, 3, 1, 4).reshaped(
        batch, heads, group * n, width)
    }
    let query = grouped(q)
    func scores(_ keys: Tensor) -> Tensor {
      matmul(query, keys.permuted(0, 2, 3, 1)) * configuration.heads.scoreScale
    }
    let kept = state.rowCount("keys")
    var within = scores(state["block keys"])
    if n > 1 {
      let mask = (0..<group * n).flatMap { row in
        (0..<open + n).map { $0 <= open + row % n ? 0 : -Float.infinity }
      }
      within = within + Tensor(mask, shape: [group * n, open + n])
    }
    let all = kept > 0 ? Tensor.concatenated([scores(state["keys"]), within], axis: -1) : within
    let most = Tensor.maximum(all.max(axes: [-1], keepingAxes: true), Tensor(0)).detached
    let weights = (all - most).exp()
    let linear = grouped(fq) * (-most).exp()
    var above =
      matmul(linear, state["sums"])
      + matmul(weights.sliced(axis: -1, kept..<weights.shape[-1]), state["block values"].transposed(1, 2))
    if kept > 0 {
      above = above + matmul(weights.sliced(axis: -1, 0..<kept), state["values"].transposed(1, 2))
    }
    let below =
      weights.sum(axes: [-1], keepingAxes: true) + matmul(linear, state["normalizer"].unsqueezed(-1))
    return (above / below).reshaped(batch, heads, group, n, width).permuted(0, 3, 1, 2, 4)
      .reshaped(batch, n, heads * group, width)
  }

  /// Routes the tokens of a complete block.
  private func close(_ state: inout MixerState, number: Int) {
    let (keys, values) = (state["block keys"], state["block values"])
    var features = mapped(keys, keyMap)
    if configuration.kept > 0 {
      let chosen = chosen(state["block saliency"], number: number)
      let rows = chosen.unsqueezed(-1).broadcast(to: Shape(chosen.shape.dimensions + [keys.shape[3]]))
        .contiguous()
      state.append(keys.gathered(axis: 1, rows), to: "keys")
      state.append(values.gathered(axis: 1, rows), to: "values")
      let left = Tensor.ones([keys.shape[0], keys.shape[1], keys.shape[2]])
        .scatterAdded(axis: 1, chosen, -Tensor.ones(chosen.shape))
      features = features * left.unsqueezed(-1)
    }
    state["sums"] =
      state["sums"] + matmul(features.permuted(0, 2, 3, 1), values.permuted(0, 2, 1, 3))
    state["normalizer"] = state["normalizer"] + features.sum(axes: [1])
    for name in ["block keys", "block values", "block saliency"] {
      var shape = state[name].shape.dimensions
      shape[1] = 0
      state[name] = .zeros(Shape(shape))
    }
  }
}
