import BraidNN
import BraidTensor

/// The projections of a linear attention with their parameters, named as in flash-linear-attention.
struct LinearAttentionHeads: Sendable {
  /// Queries and keys [B, L, H, K], after the feature map, and values [B, L, H, V].
  struct Parts {
    var q, k, v: Tensor
    /// Keys before the feature map.
    var plainKeys: Tensor
  }

  let layout: LinearAttentionLayout
  /// Of q, k and v.
  let projections: [Linear]
  let convolutions: ShortConvolutions
  let gate: Linear?
  let norm: Parameter?
  let output: Linear

  /// - Parameter normName: the name of the output's norm; by default that of a gated or an ungated norm.
  init(_ scope: ParameterScope, _ layout: LinearAttentionLayout, normName: String? = nil) {
    self.layout = layout
    let widths = [
      layout.heads * layout.keyWidth, layout.keyHeads * layout.keyWidth, layout.keyHeads * layout.valueWidth,
    ]
    func projection(_ name: String, _ outputs: Int) -> Linear {
      Linear(scope(name), inputs: layout.channels, outputs: outputs, bias: false)
    }
    projections = zip(["q", "k", "v"], widths).map { projection("\($0)_proj", $1) }
    convolutions = ShortConvolutions(scope, channels: widths, kernelSize: layout.kernelSize)
    let inner = layout.heads * layout.valueWidth
    gate = layout.isGated ? projection("g_proj", inner) : nil
    norm =
      layout.hasNorm && layout.hasNormWeight
      ? scope(normName ?? (layout.isGated ? "g_norm_swish_gate" : "g_norm"))
        .parameter("weight", [layout.valueWidth], init: .ones) : nil
    output = Linear(scope("o_proj"), inputs: inner, outputs: layout.channels, bias: false)
  }

  /// The state "attention" [B, H, K, V], and those of the convolutions.
  func initialState(batch: Int, keys: Int? = nil, values: Int? = nil) -> MixerState {
    var state = MixerState([
      "attention": .zeros([batch, layout.heads, keys ?? layout.keyWidth, values ?? layout.valueWidth])
    ])
    convolutions.addInitialStates(batch: batch, to: &state)
    return state
  }

  /// Queries, keys and values of x [B, L, C]; the convolutions' states move on.
  func callAsFunction(_ x: Tensor, state: inout MixerState) -> Parts {
    separated(convolutions(projections.map { $0(x) }, state: &state))
  }

  /// The same from a zero state, position by position.
  func reference(_ x: Tensor) -> Parts {
    separated(convolutions.reference(projections.map { $0(x) }))
  }

  private func separated(_ parts: [Tensor]) -> Parts {
    let parts = layout.normalizesInputs ? parts.map { $0.rmsNorm(epsilon: layout.normEpsilon) } : parts
    let keys = perHead(parts[1], layout.keyWidth)
    return Parts(
      q: layout.featureMap(parts[0].reshaped(parts[0].shape[0], parts[0].shape[1], -1, layout.keyWidth)),
      k: layout.featureMap(keys), v: perHead(parts[2], layout.valueWidth), plainKeys: keys)
  }

  /// [B, L, keyHeads * width] as [B, L, heads, width], neighbouring heads alike where they share.
  func perHead(_ x: Tensor, _ width: Int) -> Tensor {
    let (batch, length, own) = (x.shape[0], x.shape[1], layout.keyHeads)
    if own == layout.heads { return x.reshaped(batch, length, own, width) }
    return x.reshaped(batch, length, own, 1, width)
      .broadcast(to: [batch, length, own, layout.heads / own, width])
      .reshaped(batch, length, layout.heads, width)
  }

  /// The layer's output from o [B, L, H, V] and its input.
  func finished(_ o: Tensor, _ x: Tensor) -> Tensor {
    let normed = layout.hasNorm ? o.rmsNorm(weight: norm?.value, epsilon: layout.normEpsilon) : o
    let joined = normed.reshaped(o.shape[0], o.shape[1], -1)
    return output(gate.map { joined * $0(x, activation: .silu) } ?? joined)
  }
}

/// The recurrence of linear attention with decay, position by position from a zero state: [B, L, H, V].
///
/// - Parameter logDecay: [B, L, H, K or 1], the batch and the length possibly 1, or nil.
func literalLinearAttention(
  _ q: Tensor, _ k: Tensor, _ v: Tensor, logDecay: Tensor?, scale: Float
) -> Tensor {
  let (batch, length, heads) = (q.shape[0], q.shape[1], q.shape[2])
  var state = Tensor.zeros([batch, heads, q.shape[3], v.shape[3]])
  let decay = logDecay.map { $0.broadcast(to: [batch, length, heads, $0.shape[3]]).exp() }
  let outputs = (0..<length).map { t in
    if let decay { state = state * decay.selected(axis: 1, t).unsqueezed(-1) }
    state = state + k.selected(axis: 1, t).unsqueezed(-1) * v.selected(axis: 1, t).unsqueezed(-2)
    return ((q.selected(axis: 1, t) * scale).unsqueezed(-1) * state).sum(axes: [2])
  }
  return Tensor.stacked(outputs, axis: 1)
}
