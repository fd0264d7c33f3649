import BraidNN
import BraidTensor

/// The weights of an attention layer's heads: from positions to queries, keys and values, and back.
struct AttentionProjections: Sendable {
  let heads: AttentionHeads
  let query, key, value, output: Linear
  let queryNorm, keyNorm: Parameter?
  let sinks: Parameter?
  /// The place of the parameters in the model.
  let path: String
  private let adapters: [Int: [LowRank]]

  /// Two linear maps without bias, one after the other.
  private struct LowRank: Sendable {
    let down, up: Linear

    init(_ scope: ParameterScope, inputs: Int, rank: Int, outputs: Int) {
      down = Linear(scope(0), inputs: inputs, outputs: rank, bias: false)
      up = Linear(scope(1), inputs: rank, outputs: outputs, bias: false)
    }
  }

  init(_ scope: ParameterScope, _ heads: AttentionHeads, mixer: String) throws {
    try heads.validate(mixer)
    self.heads = heads
    path = scope.path
    let inputs = heads.inputChannels ?? heads.channels
    let (queryWidth, keyWidth) = (heads.heads * heads.headWidth, heads.keyHeads * heads.headWidth)
    let names =
      heads.layout == .lfm2 ? ["q_layernorm", "k_layernorm", "out_proj"] : ["q_norm", "k_norm", "o_proj"]
    query = Linear(
      scope("q_proj"), inputs: inputs, outputs: heads.gated ? 2 * queryWidth : queryWidth, bias: heads.bias)
    key = Linear(scope("k_proj"), inputs: inputs, outputs: keyWidth, bias: heads.bias)
    value = Linear(scope("v_proj"), inputs: inputs, outputs: keyWidth, bias: heads.bias)
    if let norm = heads.norm {
      let initial: Initializer = norm.unitOffset ? .zeros : .ones
      let wide = norm.extent == .layer
      queryNorm = scope(names[0]).parameter("weight", [wide ? queryWidth : heads.headWidth], init: initial)
      keyNorm = scope(names[1]).parameter("weight", [wide ? keyWidth : heads.headWidth], init: initial)
    } else {
      queryNorm = nil
      keyNorm = nil
    }
    sinks = heads.learntSinks ? scope.parameter("sinks", [heads.heads], init: .zeros) : nil
    output = Linear(scope(names[2]), inputs: queryWidth, outputs: heads.channels, bias: heads.outputBias)
    var adapters: [Int: [LowRank]] = [:]
    if let wanted = heads.adapters {
      for use in wanted.uses {
        adapters[use] = [("q", queryWidth), ("k", keyWidth), ("v", keyWidth)].map { name, outputs in
          LowRank(
            scope("linear_\(name)_adapter_list")(use), inputs: inputs, rank: wanted.rank, outputs: outputs)
        }
      }
    }
    self.adapters = adapters
  }

  /// Queries [B, L, heads, D], keys and values [B, L, keyHeads, D] of positions from `position` on, and the gate.
  func project(_ x: Tensor, from position: Int, use: Int? = nil) -> (
    queries: Tensor, keys: Tensor, values: Tensor, gate: Tensor?
  ) {
    let (batch, length, width) = (x.shape[0], x.shape[1], heads.headWidth)
    var (q, k, v) = (query(x), key(x), value(x))
    if let use {
      guard let added = adapters[use] else { preconditionFailure("attention: there is no adapter \(use)") }
      q = added[0].up(added[0].down(x), residual: q)
      k = added[1].up(added[1].down(x), residual: k)
      v = added[2].up(added[2].down(x), residual: v)
    }
    var gate: Tensor?
    if heads.gated {
      let both = q.reshaped(batch, length, heads.heads, 2 * width).split(into: 2, axis: -1)
      q = both[0].reshaped(batch, length, heads.heads * width)
      gate = both[1].reshaped(batch, length, heads.heads * width)
    }
    if let multiplier = heads.keyMultiplier, multiplier != 1 { k = k * multiplier }
    q = split(q, heads.heads, norm: queryNorm)
    k = split(k, heads.keyHeads, norm: keyNorm)
    if let rotary = heads.rotary {
      q = rotary.rotated(q, from: position)
      k = rotary.rotated(k, from: position)
    }
    return (q, k, v.reshaped(batch, length, heads.keyHeads, width), gate)
  }

  /// No keys and no values, as buffers that grow.
  func emptyCache(batch: Int) -> MixerState {
    let empty = Tensor.zeros([batch, 0, heads.keyHeads, heads.headWidth])
    return MixerState(["keys": empty, "values": empty])
  }

  /// The output [B, L, channels] of heads [B, L, heads, D].
  func finish(_ attended: Tensor, gate: Tensor?) -> Tensor {
    var y = attended.reshaped(attended.shape[0], attended.shape[1], -1)
    if let gate { y = y * gate.sigmoid() }
    return output(y)
  }

  /// Cut into heads, and normalised.
  private func split(_ x: Tensor, _ count: Int, norm: Parameter?) -> Tensor {
    let shape = Shape([x.shape[0], x.shape[1], count, heads.headWidth])
    guard let norm, let settings = heads.norm else { return x.reshaped(shape) }
    let weight = settings.unitOffset ? norm.value + 1 : norm.value
    let x = settings.extent == .head ? x.reshaped(shape) : x
    return x.rmsNorm(weight: weight, epsilon: settings.epsilon).reshaped(shape)
  }

  /// The fused operation under the settings of the heads.
  func attend(
    _ queries: Tensor, _ keys: Tensor, _ values: Tensor, window: Int? = nil, always: Int = 0
  ) -> Tensor {
    scaledDotProductAttention(
      queries, keys, values, causal: true, window: window, always: always, scale: heads.scoreScale,
      softCap: heads.softCap, sinks: sinks?.value)
  }

  /// The literal loop: query t attends to the keys that `visible` names.
  func attendReference(
    _ queries: Tensor, _ keys: Tensor, _ values: Tensor, visible: (_ query: Int) -> [Int]
  ) -> Tensor {
    AttentionReference.attend(
      queries, keys, values, scale: heads.scoreScale, softCap: heads.softCap, sinks: sinks?.value,
      visible: visible)
  }
}
