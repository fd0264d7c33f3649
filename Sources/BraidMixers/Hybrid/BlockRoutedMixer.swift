import BraidNN
import BraidTensor

/// Blocks of tokens that a router sends, head by head, either into the state of a gated delta rule or into the keys
/// of softmax attention; both branches are read by every token.
///
///     q, k, v = SiLU(causal convolution of W x);   the branches share them
///     r = argmax W_r mean(x over the block)                                       for each head: 1 delta, 0 softmax
///     delta:    S runs through the token's own block from the state before it; after the block
///               S ← S where r = 1, exp(Σ g) S before the block where r = 0
///     softmax:  over the blocks before with r = 0 and the token's own block up to itself; q, k RMS-normalised
///     out = W_o ((w_1 RMSNorm_1(delta) + w_2 RMSNorm_2(softmax)) ⊙ SiLU(W_g x));   w = softmax(W_w q)
///
/// x [batch, length, channels]. Softmax heads are cut finer than delta heads: `attentionHeads` is a multiple of `heads`.
/// The router's choice is hard; no gradient flows through it. The state keeps keys of a block only where a head needs
/// them.
/// Source: Neural Attention Search Linear, 2026 (names, layout and routing of its gated delta layer).
public struct BlockRoutedMixer: CausalMixer {
  public struct Configuration: Codable, Hashable, Sendable {
    public var channels: Int
    /// Heads of the delta rule.
    public var heads: Int
    public var keyWidth: Int
    public var valueWidth: Int
    /// Heads of the softmax, a multiple of `heads`.
    public var attentionHeads: Int
    /// Tokens that are routed together.
    public var block: Int
    public var kernelSize: Int
    public var normEpsilon: Float

    public init(
      channels: Int, heads: Int, keyWidth: Int, valueWidth: Int, attentionHeads: Int, block: Int = 64,
      kernelSize: Int = 4, normEpsilon: Float = 1e-5
    ) {
      self.channels = channels
      self.heads = heads
      self.keyWidth = keyWidth
      self.valueWidth = valueWidth
      self.attentionHeads = attentionHeads
      self.block = block
      self.kernelSize = kernelSize
      self.normEpsilon = normEpsilon
    }
  }

  public static let name = "block-routed"
  public static let examples = [
    Configuration(channels: 12, heads: 2, keyWidth: 6, valueWidth: 8, attentionHeads: 4, block: 16),
    Configuration(
      channels: 8, heads: 2, keyWidth: 4, valueWidth: 4, attentionHeads: 2, block: 7, kernelSize: 2),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.channels }
  private let query, key, value, gate, rate, strength, router, weights, output: Linear
  private let convolutions: ShortConvolutions
  private let logRate, stepBias, queryNorm, keyNorm, deltaNorm, softmaxNorm: Parameter

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try MixerError.require(
      min(c.channels, c.heads, c.keyWidth, c.valueWidth, c.attentionHeads, c.block, c.kernelSize) > 0
        && c.normEpsilon >= 0 && c.attentionHeads % c.heads == 0
        && c.heads * c.keyWidth % c.attentionHeads == 0 && c.heads * c.valueWidth % c.attentionHeads == 0,
      Self.name,
      "\(c.channels) channels, \(c.heads) heads of \(c.keyWidth) and \(c.valueWidth), \(c.attentionHeads) softmax "
        + "heads, blocks of \(c.block), kernel \(c.kernelSize), norm epsilon \(c.normEpsilon)")
    configuration = c
    let (keys, values) = (c.heads * c.keyWidth, c.heads * c.valueWidth)
    func projection(_ name: String, _ outputs: Int, from inputs: Int? = nil) -> Linear {
      Linear(scope(name), inputs: inputs ?? c.channels, outputs: outputs, bias: false)
    }
    query = projection("q_proj", keys)
    key = projection("k_proj", keys)
    value = projection("v_proj", values)
    gate = projection("g_proj", values)
    rate = projection("a_proj", c.heads)
    strength = projection("b_proj", c.heads)
    router = projection("nats_layer", 2 * c.heads)
    weights = projection("nats_out_weights_layer", 2 * c.attentionHeads, from: keys)
    convolutions = ShortConvolutions(scope, channels: [keys, keys, values], kernelSize: c.kernelSize)
    logRate = scope.parameter("A_log", [c.heads], init: .logarithm(of: 1e-4...16))
    stepBias = scope.parameter(
      "dt_bias", [c.heads], init: .inverseSoftplus(logUniform: 0.001...0.1, floor: 1e-4))
    queryNorm = scope("q_norm").parameter("weight", [keys / c.attentionHeads], init: .ones)
    keyNorm = scope("k_norm").parameter("weight", [keys / c.attentionHeads], init: .ones)
    deltaNorm = scope("o_norm").parameter("weight1", [values / c.attentionHeads], init: .ones)
    softmaxNorm = scope("o_norm").parameter("weight2", [values / c.attentionHeads], init: .ones)
    output = Linear(scope("o_proj"), inputs: values, outputs: c.channels, bias: false)
  }

  /// What both branches read, all [B, L, heads, width].
  private struct Parts {
    var delta: DeltaHeads
    var queries, keys, values: Tensor
    /// [B, L, attention heads, 2]
    var weights: Tensor

    func sliced(_ range: Range<Int>) -> Parts {
      func own(_ x: Tensor) -> Tensor { x.sliced(axis: 1, range) }
      return Parts(
        delta: DeltaHeads(
          q: own(delta.q), k: own(delta.k), v: own(delta.v), beta: own(delta.beta),
          logDecay: delta.logDecay.map(own)),
        queries: own(queries), keys: own(keys), values: own(values), weights: own(weights))
    }
  }

  private func parts(_ x: Tensor, _ convolved: ([Tensor]) -> [Tensor]) -> Parts {
    let c = configuration
    let signals = convolved([query(x), key(x), value(x)])
    let (q, k, v) = (signals[0], signals[1], signals[2])
    var delta = DeltaHeads(
      q: q.heads(c.keyWidth), k: k.heads(c.keyWidth), v: v.heads(c.valueWidth), beta: strength(x).sigmoid(),
      logDecay: (rate(x) + stepBias.value).softplus() * logRate.negatedExponential)
    delta.normalizeKeys()
    func softmaxHeads(_ x: Tensor) -> Tensor { x.heads(x.shape[2] / c.attentionHeads) }
    return Parts(
      delta: delta,
      queries: softmaxHeads(q).rmsNorm(weight: queryNorm.value, epsilon: c.normEpsilon),
      keys: softmaxHeads(k).rmsNorm(weight: keyNorm.value, epsilon: c.normEpsilon),
      values: softmaxHeads(v), weights: weights(q).heads(2).softmax())
  }

  /// 1 for the heads whose block goes into the state, 0 elsewhere: [B, heads], of the block's mean input.
  private func route(_ pooled: Tensor) -> Tensor {
    let logits = router(pooled.detached).detached.reshaped(pooled.shape[0], configuration.heads, 2)
    return logits.selected(axis: -1, 1).greater(logits.selected(axis: -1, 0)).cast(to: .float32)
  }

  private func finished(_ x: Tensor, delta: Tensor, softmax: Tensor, weights: Tensor) -> Tensor {
    let c = configuration
    let first = delta.reshaped(softmax.shape).rmsNorm(weight: deltaNorm.value, epsilon: c.normEpsilon)
    let second = softmax.rmsNorm(weight: softmaxNorm.value, epsilon: c.normEpsilon)
    let w = weights.split(into: 2, axis: -1)
    return output((first * w[0] + second * w[1]).joinedHeads() * gate(x).silu())
  }

  public func reference(_ x: Tensor) -> Tensor {
    let c = configuration
    let (batch, length) = (x.shape[0], x.shape[1])
    let p = parts(x, convolutions.reference)
    let scale = 1 / Float(c.keyWidth).squareRoot()
    var start = Tensor.zeros([batch, c.heads, c.keyWidth, c.valueWidth])
    var (inner, decay) = (start, Tensor.zeros([batch, c.heads]))
    var routes: [[Float]] = []
    let delta = (0..<length).map { t in
      let (k, g) = (p.delta.k.selected(axis: 1, t).unsqueezed(-1), p.delta.logDecay!.selected(axis: 1, t))
      inner = inner * g.exp().reshaped(batch, c.heads, 1, 1)
      let update =
        (p.delta.v.selected(axis: 1, t) - (inner * k).sum(axes: [2]))
        * p.delta.beta.selected(axis: 1, t).unsqueezed(-1)
      inner = inner + k * update.unsqueezed(2)
      decay = decay + g
      let output = (inner * p.delta.q.selected(axis: 1, t).unsqueezed(-1) * scale).sum(axes: [2])
      if (t + 1) % c.block == 0 {
        let r = route(x.sliced(axis: 1, t + 1 - c.block..<t + 1).mean(axes: [1]))
        routes.append(r.floats)
        let keeps = r.reshaped(batch, c.heads, 1, 1)
        start = inner * keeps + start * decay.exp().reshaped(batch, c.heads, 1, 1) * (1 - keeps)
        (inner, decay) = (start, .zeros([batch, c.heads]))
      }
      return output
    }
    let group = c.attentionHeads / c.heads
    let items = (0..<batch).map { b in
      let perHead = (0..<c.heads).map { h in
        func own(_ x: Tensor) -> Tensor {
          x.sliced(axis: 0, b..<b + 1).sliced(axis: 2, h * group..<(h + 1) * group)
        }
        return AttentionReference.attend(
          own(p.queries), own(p.keys), own(p.values), scale: 1 / Float(p.keys.shape[3]).squareRoot()
        ) { t in
          (0...t).filter { $0 / c.block == t / c.block || routes[$0 / c.block][b * c.heads + h] == 0 }
        }
      }
      return Tensor.concatenated(perHead, axis: 2)
    }
    return finished(
      x, delta: Tensor.stacked(delta, axis: 1), softmax: Tensor.concatenated(items, axis: 0),
      weights: p.weights)
  }

  public func initialState(batch: Int) -> MixerState {
    let c = configuration
    let (keys, values) = (c.heads * c.keyWidth / c.attentionHeads, c.heads * c.valueWidth / c.attentionHeads)
    let zero = Tensor.zeros([batch, c.heads, c.keyWidth, c.valueWidth])
    var state = MixerState([
      "start": zero, "delta": zero, "decay": .zeros([batch, c.heads]), "pooled": .zeros([batch, c.channels]),
      "keys": .zeros([batch, 0, c.attentionHeads, keys]),
      "values": .zeros([batch, 0, c.attentionHeads, values]),
      "mask": .zeros([batch, 0, c.heads]),
    ])
    convolutions.addInitialStates(batch: batch, to: &state)
    return state
  }

  public func prefill(_ x: Tensor, state: inout MixerState) -> Tensor {
    let c = configuration
    let p = parts(x) { convolutions($0, state: &state) }
    var (delta, softmax): ([Tensor], [Tensor]) = ([], [])
    var first = 0
    while first < x.shape[1] {
      let open = state.position % c.block
      let range = first..<min(x.shape[1], first + c.block - open)
      let own = p.sliced(range)
      delta.append(own.delta(state: &state["delta"]))
      state["decay"] = state["decay"] + own.delta.logDecay!.sum(axes: [1])
      state["pooled"] = state["pooled"] + x.sliced(axis: 1, range).sum(axes: [1]) * (1 / Float(c.block))
      state.append(own.keys, to: "keys")
      state.append(own.values, to: "values")
      softmax.append(
        scaledDotProductAttention(
          own.queries, state["keys"], state["values"], bias: bias(state, open: open + range.count),
          causal: true))
      state.position += range.count
      if open + range.count == c.block { close(&state) }
      first = range.upperBound
    }
    func joined(_ parts: [Tensor]) -> Tensor { parts.count == 1 ? parts[0] : .concatenated(parts, axis: 1) }
    return finished(x, delta: joined(delta), softmax: joined(softmax), weights: p.weights)
  }

  /// What hides keys of blocks that went into a head's state: [B, attention heads, 1, rows], or nil.
  private func bias(_ state: MixerState, open: Int) -> Tensor? {
    let (c, blocks) = (configuration, state.rowCount("mask"))
    if blocks == 0 { return nil }
    let (batch, group) = (state["mask"].shape[0], c.attentionHeads / c.heads)
    let mask = state["mask"].transposed(1, 2).reshaped(batch, c.heads, 1, blocks, 1)
      .broadcast(to: [batch, c.heads, group, blocks, c.block])
      .reshaped(batch, c.attentionHeads, 1, blocks * c.block)
    return Tensor.concatenated([mask, .zeros([batch, c.attentionHeads, 1, open])], axis: -1)
  }

  /// Routes a complete block.
  private func close(_ state: inout MixerState) {
    let c = configuration
    let batch = state["pooled"].shape[0]
    let r = route(state["pooled"])
    let keeps = r.reshaped(batch, c.heads, 1, 1)
    let decayed = state["start"] * state["decay"].exp().reshaped(batch, c.heads, 1, 1)
    state["start"] = state["delta"] * keeps + decayed * (1 - keeps)
    state["delta"] = state["start"]
    state["decay"] = .zeros([batch, c.heads])
    state["pooled"] = .zeros([batch, c.channels])
    let routes = r.floats
    if routes.allSatisfy({ $0 == 1 }) {
      for name in ["keys", "values"] {
        let rows = state[name]
        state[name] = rows.sliced(axis: 1, 0..<rows.shape[1] - c.block)
      }
    } else {
      state.append(
        Tensor(routes.map { $0 == 1 ? -Float.infinity : 0 }, shape: [batch, 1, c.heads]), to: "mask")
    }
  }
}
