import BraidNN
import BraidTensor

/// Gated linear attention and sliding-window attention on the same queries, keys and values.
///
///     S_t = diag(exp(g_t)) S_{t-1} + φ(k_t)ᵀ v_t;   l_t = φ(q_t) S_t                     for each head, [K, V]
///     w_t = Σ_j softmax_j(R q_t · R k_j / √K) v_j      over the last `window` positions and the meta tokens
///     out = W_o (a l + b w)
///
/// Two published kinds. Liger: no weights beside those of attention, φ the softmax over a head's channels,
/// g = log σ(k) / 16, a = b = 1/2. Lizard: g = log σ(W_g x) / 16 and φ(x) = [softmax(W x), softmax(-W x)] are learnt,
/// learnt meta tokens stand before the first position, a = b = 1; no code of it is public, so the map and the
/// divisor are stated here. Key heads may be fewer than query heads.
/// Source: Lan et al., "Liger: linearizing large language models to gated recurrent structures", 2025; Lizard, 2025.
public struct LinearWindowMixer: CausalMixer {
  public enum Kind: String, Codable, Hashable, Sendable { case liger, lizard }

  public struct Configuration: Codable, Hashable, Sendable {
    /// Queries, keys and values of both; norms, gates and caps are not used with them.
    public var heads: AttentionHeads
    public var kind: Kind
    /// The keys that a query sees, its own included.
    public var window: Int
    /// Learnt positions before the first one; Lizard's alone.
    public var metaTokens: Int

    public init(_ heads: AttentionHeads, kind: Kind = .liger, window: Int = 64, metaTokens: Int = 0) {
      self.heads = heads
      self.kind = kind
      self.window = window
      self.metaTokens = metaTokens
    }
  }

  public static let name = "linear-window"
  public static let examples = [
    Configuration(
      AttentionHeads(channels: 12, heads: 4, keyHeads: 2, headWidth: 6, rotary: .init(dimensions: 6)),
      window: 20),
    Configuration(
      AttentionHeads(channels: 8, heads: 2, keyHeads: 2, rotary: .init(dimensions: 4)), kind: .lizard,
      window: 7,
      metaTokens: 3),
  ]

  private static let divisor: Float = 16

  public let configuration: Configuration
  public var channels: Int { configuration.heads.channels }
  let projections: AttentionProjections
  private let rotary: RotaryEmbedding?
  private let gate: Linear?
  private let queryMap, keyMap: Parameter?
  private let meta: Parameter?

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try MixerError.require(
      c.window > 0 && c.metaTokens >= 0 && (c.kind == .lizard || c.metaTokens == 0), Self.name,
      "\(c.kind.rawValue) with a window of \(c.window) and \(c.metaTokens) meta tokens")
    configuration = c
    var plain = c.heads
    plain.rotary = nil
    try c.heads.validate(Self.name)
    projections = try AttentionProjections(scope, plain, mixer: Self.name)
    rotary = c.heads.rotary
    let (heads, inputs) = (c.heads, c.heads.inputChannels ?? c.heads.channels)
    let learnt = c.kind == .lizard
    gate =
      learnt
      ? Linear(scope("g_proj"), inputs: inputs, outputs: heads.keyHeads * heads.headWidth) : nil
    func map(_ name: String, _ count: Int) -> Parameter? {
      learnt
        ? scope(name).parameter(
          "weight", [count, heads.headWidth, heads.headWidth], init: .fanIn(heads.headWidth)) : nil
    }
    queryMap = map("feature_map_q", heads.heads)
    keyMap = map("feature_map_k", heads.keyHeads)
    meta =
      c.metaTokens > 0
      ? scope.parameter("meta_tokens", [c.metaTokens, inputs], init: .truncatedNormal(0.02)) : nil
  }

  /// Width of φ.
  private var features: Int { configuration.heads.headWidth * (configuration.kind == .lizard ? 2 : 1) }

  /// φ of queries or keys [B, L, H, K].
  private func mapped(_ x: Tensor, _ map: Parameter?) -> Tensor {
    guard let map else { return x.softmax() }
    let y = matmul(x.transposed(1, 2), map.value.transposed()).transposed(1, 2)
    return Tensor.concatenated([y.softmax(), (-y).softmax()], axis: -1)
  }

  /// [B, L, key heads, D] as [B, L, heads, D].
  private func repeated(_ x: Tensor) -> Tensor {
    let group = configuration.heads.heads / configuration.heads.keyHeads
    if group == 1 { return x }
    let s = x.shape
    return x.unsqueezed(3).broadcast(to: [s[0], s[1], s[2], group, s[3]]).reshaped(
      s[0], s[1], s[2] * group, s[3])
  }

  private struct Parts {
    /// φ(q), φ(k), g [B, L, H, features]; v [B, L, H, V].
    var q, k, g, v: Tensor
    /// Turned queries, keys, and values of the window.
    var windowQueries, windowKeys, windowValues: Tensor
  }

  private func parts(_ x: Tensor, from position: Int) -> Parts {
    let heads = configuration.heads
    let (q, k, v, _) = projections.project(x, from: 0)
    var g = gate.map { $0(x).reshaped(k.shape) } ?? k
    // log σ(x) = -softplus(-x)
    g = (-g).softplus() * (-1 / Self.divisor)
    if features > heads.headWidth { g = Tensor.concatenated([g, g], axis: -1) }
    let start = position + configuration.metaTokens
    func turned(_ x: Tensor) -> Tensor { rotary?.rotated(x, from: start) ?? x }
    return Parts(
      q: mapped(q, queryMap), k: repeated(mapped(k, keyMap)), g: repeated(g), v: repeated(v),
      windowQueries: turned(q), windowKeys: turned(k), windowValues: v)
  }

  /// Keys and values of the meta tokens, [1, m, key heads, width].
  private var metaRows: (keys: Tensor, values: Tensor)? {
    guard let meta else { return nil }
    let (_, k, v, _) = projections.project(meta.value.unsqueezed(0), from: 0)
    return (rotary?.rotated(k, from: 0) ?? k, v)
  }

  private func finished(linear l: Tensor, window w: Tensor) -> Tensor {
    let sum = configuration.kind == .liger ? (l + w) * 0.5 : l + w
    return projections.finish(sum, gate: nil)
  }

  public func reference(_ x: Tensor) -> Tensor {
    let heads = configuration.heads
    let (batch, length) = (x.shape[0], x.shape[1])
    let p = parts(x, from: 0)
    var s = Tensor.zeros([batch, heads.heads, features, heads.headWidth])
    let linear = (0..<length).map { t in
      let decay = p.g.selected(axis: 1, t).exp().unsqueezed(-1)
      s = decay * s + p.k.selected(axis: 1, t).unsqueezed(-1) * p.v.selected(axis: 1, t).unsqueezed(2)
      return (p.q.selected(axis: 1, t).unsqueezed(-1) * s).sum(axes: [2])
    }
    var (keys, values) = (p.windowKeys, p.windowValues)
    let metas = configuration.metaTokens
    if let rows = metaRows {
      func joined(_ meta: Tensor, _ own: Tensor) -> Tensor {
        let shape = Shape([batch] + meta.shape.dimensions.dropFirst())
        return Tensor.concatenated([meta.broadcast(to: shape), own], axis: 1)
      }
      keys = joined(rows.keys, keys)
      values = joined(rows.values, values)
    }
    let window = projections.attendReference(p.windowQueries, keys, values) { t in
      Array(0..<metas) + Array(metas + max(0, t + 1 - configuration.window)...metas + t)
    }
    return finished(linear: Tensor.stacked(linear, axis: 1), window: window)
  }

  public func initialState(batch: Int) -> MixerState {
    let heads = configuration.heads
    let empty = Tensor.zeros([batch, 0, heads.keyHeads, heads.headWidth])
    return MixerState([
      "keys": empty, "values": empty,
      "linear": .zeros([batch, heads.heads, features, heads.headWidth]),
    ])
  }

  public func prefill(_ x: Tensor, state: inout MixerState) -> Tensor {
    let p = parts(x, from: state.position)
    let (linear, last) = gatedLinearAttention(p.q, p.k, p.v, logDecay: p.g, initialState: state["linear"])
    state["linear"] = last
    state.append(p.windowKeys, to: "keys")
    state.append(p.windowValues, to: "values")
    var (keys, values) = (state["keys"], state["values"])
    if let rows = metaRows {
      func joined(_ meta: Tensor, _ own: Tensor) -> Tensor {
        let shape = Shape([x.shape[0]] + meta.shape.dimensions.dropFirst())
        return Tensor.concatenated([meta.broadcast(to: shape), own], axis: 1)
      }
      keys = joined(rows.keys, keys)
      values = joined(rows.values, values)
    }
    let window = projections.attend(
      p.windowQueries, keys, values, window: configuration.window, always: configuration.metaTokens)
    state.keepLast(configuration.window - 1, of: "keys")
    state.keepLast(configuration.window - 1, of: "values")
    state.position += x.shape[1]
    return finished(linear: linear, window: window)
  }
}
