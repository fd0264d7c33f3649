import BraidNN
import BraidTensor

/// A gated attention unit that only the tokens enter which a router activates (sparse modular activation).
///
///     m = SiLU(EMA(LayerNorm(x)));   [u, c] = W_h m + b;   (p_0, p_1) = softmax(u exp(-temp));   active: p_1 > p_0
///     [z, r, v] = SiLU(W_m m + b) of the active tokens;   q, k = R z γ + β                    R rotary, by position
///     a_t = Σ_j softmax_j(q_t·k_j / √Z) v_j       over the active token itself and the `window` active ones before it
///     y = SiLU(x + c + 1[active] p_1 (W_o (a ⊙ r) + b))
///
/// x [batch, length, channels]. The window counts active tokens alone, so it reaches back as far as they are sparse.
/// Without a router every token is active and p_1 is 1: the gated attention unit of Mega. The layer holds its own norm
/// and residual, as published. The state is the average's, and keys and values of the last `window` active tokens.
/// Source: Ren et al., "Sparse modular activation for efficient sequence modeling" (SeqBoat), 2023, with the names of
/// its code (`local` softmax attention, rotary positions); Ma et al., "Mega", 2022.
public struct GatedAttentionUnit: CausalMixer {
  public struct Configuration: Codable, Hashable, Sendable {
    public var channels: Int
    /// Z, even.
    public var keyWidth: Int
    /// The width of v and r.
    public var valueWidth: Int
    /// Moving averages of a channel.
    public var averages: Int
    /// Active tokens that an active token sees besides itself.
    public var window: Int
    /// Whether a router chooses the active tokens.
    public var routed: Bool

    public init(
      channels: Int, keyWidth: Int, valueWidth: Int, averages: Int = 16, window: Int, routed: Bool = true
    ) {
      self.channels = channels
      self.keyWidth = keyWidth
      self.valueWidth = valueWidth
      self.averages = averages
      self.window = window
      self.routed = routed
    }
  }

  public static let name = "gated-attention-unit"
  public static let examples = [
    Configuration(channels: 8, keyWidth: 4, valueWidth: 10, averages: 3, window: 12),
    Configuration(channels: 6, keyWidth: 6, valueWidth: 6, averages: 2, window: 5, routed: false),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.channels }
  private let norm: LayerNorm
  private let average: MovingAverage
  private let hidden, mixed, output: Linear
  private let gamma, beta: Parameter
  private let temperature: Parameter?
  private let rotary: RotaryEmbedding

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try MixerError.require(
      min(c.channels, c.keyWidth, c.valueWidth, c.averages, c.window) > 0 && c.keyWidth % 2 == 0, Self.name,
      "\(c.channels) channels, keys of \(c.keyWidth) (even), values of \(c.valueWidth), \(c.averages) averages, "
        + "window \(c.window)")
    configuration = c
    norm = LayerNorm(scope("norm.norm"), channels: c.channels)
    average = MovingAverage(scope("move"), channels: c.channels, count: c.averages)
    func linear(_ name: String, _ inputs: Int, _ outputs: Int) -> Linear {
      Linear(scope(name), inputs: inputs, outputs: outputs, init: .truncatedNormal(0.02))
    }
    hidden = linear("hx_proj", c.channels, c.channels + (c.routed ? 2 : 0))
    mixed = linear("mx_proj", c.channels, c.keyWidth + 2 * c.valueWidth)
    output = linear("h_proj", c.valueWidth, c.channels)
    gamma = scope.parameter("gamma", [2, c.keyWidth], init: .truncatedNormal(0.02))
    beta = scope.parameter("beta", [2, c.keyWidth], init: .zeros)
    temperature =
      c.routed
      ? scope("q_router").parameter(
        "temp", [1],
        init: .custom { _, _ in Tensor([Float(0.3 * Double(c.channels).squareRoot())]).log() }) : nil
    rotary = RotaryEmbedding(dimensions: c.keyWidth, form: .interleaved)
  }

  private struct Parts {
    /// q, k [B, L, 1, Z], v [B, L, 1, V], r [B, L, V].
    var q, k, v, r: Tensor
    /// c [B, L, C]; p_1 [B, L, 1], or nil.
    var kept, share: Tensor
    /// The active positions of each item.
    var active: [[Int]]
  }

  private func parts(_ m: Tensor, from position: Int) -> Parts {
    let c = configuration
    let (batch, length) = (m.shape[0], m.shape[1])
    var kept = hidden(m)
    var share = Tensor.ones([batch, length, 1])
    var active = [[Int]](repeating: Array(0..<length), count: batch)
    if let temperature {
      let both = kept.split([2, c.channels], axis: -1)
      kept = both[1]
      let p = (both[0] * (-temperature.value).exp()).softmax()
      share = p.sliced(axis: -1, 1..<2)
      let values = p.floats
      active = (0..<batch).map { b in
        (0..<length).filter { values[(b * length + $0) * 2 + 1] > values[(b * length + $0) * 2] }
      }
    }
    let z = mixed(m).silu().split([c.keyWidth, c.valueWidth, c.valueWidth], axis: -1)
    func turned(_ index: Int) -> Tensor {
      let x = z[0] * gamma.value.selected(axis: 0, index) + beta.value.selected(axis: 0, index)
      return rotary.rotated(x.unsqueezed(2), from: position)
    }
    return Parts(
      q: turned(0), k: turned(1), v: z[2].unsqueezed(2), r: z[1], kept: kept, share: share, active: active)
  }

  private func finished(_ x: Tensor, _ p: Parts, attended: Tensor, mask: Tensor) -> Tensor {
    (x + p.kept + output(attended * p.r) * p.share * mask).silu()
  }

  /// 1 at the active positions, [B, L, 1].
  private func mask(_ active: [[Int]], _ length: Int) -> Tensor {
    var mask = [Float](repeating: 0, count: active.count * length)
    for (b, positions) in active.enumerated() { for t in positions { mask[b * length + t] = 1 } }
    return Tensor(mask, shape: [active.count, length, 1])
  }

  public func reference(_ x: Tensor) -> Tensor {
    let (batch, length, c) = (x.shape[0], x.shape[1], configuration)
    let p = parts(average.reference(norm(x)).silu(), from: 0)
    let scale = 1 / Float(c.keyWidth).squareRoot()
    let items = (0..<batch).map { b in
      var seen: [Int] = []
      let rows = (0..<length).map { t in
        guard p.active[b].contains(t) else { return Tensor.zeros([c.valueWidth]) }
        seen = Array((seen + [t]).suffix(c.window + 1))
        let index = Tensor(seen.map(Int64.init))
        let keys = p.k.selected(axis: 0, b).squeezed(1).indexSelected(axis: 0, index)
        let values = p.v.selected(axis: 0, b).squeezed(1).indexSelected(axis: 0, index)
        let scores = (keys * p.q.selected(axis: 0, b).selected(axis: 0, t)).sum(axes: [-1]) * scale
        return (scores.softmax().unsqueezed(-1) * values).sum(axes: [0])
      }
      return Tensor.stacked(rows)
    }
    return finished(x, p, attended: Tensor.stacked(items), mask: mask(p.active, length))
  }

  public func initialState(batch: Int) -> MixerState {
    let c = configuration
    return MixerState([
      "average": average.initialState(batch: batch), "keys": .zeros([batch, c.window, 1, c.keyWidth]),
      "values": .zeros([batch, c.window, 1, c.valueWidth]), "filled": .zeros([batch, 1], dtype: .int32),
    ])
  }

  public func prefill(_ x: Tensor, state: inout MixerState) -> Tensor {
    let (length, c) = (x.shape[1], configuration)
    let m = average(norm(x), state: &state["average"]).silu()
    let p = parts(m, from: state.position)
    var filled = state["filled"].elements(as: Int32.self)
    var (attended, keys, values): ([Tensor], [Tensor], [Tensor]) = ([], [], [])
    for (b, active) in p.active.enumerated() {
      func own(_ x: Tensor) -> Tensor { x.sliced(axis: 0, b..<b + 1) }
      guard !active.isEmpty else {
        attended.append(.zeros([1, length, c.valueWidth]))
        keys.append(own(state["keys"]))
        values.append(own(state["values"]))
        continue
      }
      let index = Tensor(active.map(Int64.init))
      func chosen(_ x: Tensor) -> Tensor {
        active.count == length ? own(x) : own(x).indexSelected(axis: 1, index)
      }
      // The state's rows stand at the end of its buffers.
      let held = min(Int(filled[b]), c.window)
      func joined(_ name: String, _ rows: Tensor) -> (seen: Tensor, kept: Tensor) {
        let all = Tensor.concatenated([own(state[name]), chosen(rows)], axis: 1)
        let count = all.shape[1]
        return (
          all.sliced(axis: 1, c.window - held..<count), all.sliced(axis: 1, count - c.window..<count)
        )
      }
      let (k, v) = (joined("keys", p.k), joined("values", p.v))
      let y = scaledDotProductAttention(chosen(p.q), k.seen, v.seen, causal: true, window: c.window + 1)
        .squeezed(2)
      attended.append(
        active.count == length
          ? y
          : scattered(y, index, length))
      keys.append(k.kept)
      values.append(v.kept)
      filled[b] = Int32(min(held + active.count, c.window))
    }
    state["keys"] = Tensor.concatenated(keys, axis: 0)
    state["values"] = Tensor.concatenated(values, axis: 0)
    state["filled"] = Tensor(filled, shape: [x.shape[0], 1])
    state.position += length
    return finished(
      x, p, attended: Tensor.concatenated(attended, axis: 0), mask: mask(p.active, length))
  }

  /// Rows [1, n, V] at the positions that `index` names of [1, length, V], zeros elsewhere.
  private func scattered(_ rows: Tensor, _ index: Tensor, _ length: Int) -> Tensor {
    let places = index.reshaped(1, -1, 1).broadcast(to: rows.shape).contiguous()
    return Tensor.zeros([1, length, rows.shape[2]]).scatterAdded(axis: 1, places, rows)
  }
}
