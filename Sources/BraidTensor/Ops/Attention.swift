import CBraidKernels

/// Softmax attention of queries [B, Lq, H, D] to keys [B, Lk, Hk, D] and values [B, Lk, Hk, Dv]: [B, Lq, H, Dv].
///
/// softmax(scale q k^T + bias) v, one fused operation whose memory grows with length and not with its square, in the
/// gradient too (Dao et al., FlashAttention). Query head h reads key head h / (H / Hk). A query that sees no key
/// gives zeros.
///
/// - Parameters:
///   - bias: added to the scaled scores, -infinity for a pair that is masked; it broadcasts to [B, H, Lq, Lk].
///   - causal: query i sees key j where j <= i + Lk - Lq: the last query sees all keys.
///   - window: a query sees that many keys at most, up to its own position (with `causal`), or from
///     i + Lk - Lq - window + 1 on.
///   - always: the first keys that a window does not hide (sink tokens); `causal` still does.
///   - scale: 1 / sqrt(D) where nil.
///   - softCap: scaled scores s become softCap tanh(s / softCap), before the bias (Gemma 2).
///   - sinks: [H], scores of a key without a value that every query of a head sees (gpt-oss).
public func scaledDotProductAttention(
  _ queries: Tensor, _ keys: Tensor, _ values: Tensor, bias: Tensor? = nil, causal: Bool = false,
  window: Int? = nil, always: Int = 0, scale: Float? = nil, softCap: Float? = nil, sinks: Tensor? = nil
) -> Tensor {
  let (qs, ks, vs) = (queries.shape, keys.shape, values.shape)
  precondition(
    qs.rank == 4 && ks.rank == 4 && vs.rank == 4 && qs[0] == ks[0] && ks[0] == vs[0] && ks[1] == vs[1]
      && ks[2] == vs[2] && qs[3] == ks[3] && ks[2] > 0 && qs[2] % ks[2] == 0,
    "scaledDotProductAttention: queries \(qs), keys \(ks), values \(vs)")
  precondition(window ?? 1 > 0, "scaledDotProductAttention: a window of \(window!) keys")
  precondition(softCap ?? 1 > 0, "scaledDotProductAttention: a cap of \(softCap!)")
  precondition(
    sinks.map { $0.shape == [qs[2]] } ?? true,
    "scaledDotProductAttention: sinks of \(sinks!.shape) for \(qs[2]) heads")
  let shape = AttentionShape(
    batch: qs[0], queries: qs[1], keys: ks[1], heads: qs[2], keyHeads: ks[2], width: qs[3], valueWidth: vs[3],
    scale: scale ?? 1 / Float(qs[3]).squareRoot(), causal: causal, window: window,
    always: Swift.min(always, ks[1]), softCap: softCap ?? 0)
  let full: Shape = [qs[0], qs[2], qs[1], ks[1]]
  precondition(
    bias == nil || Shape.broadcast(bias!.shape, full) == full,
    "scaledDotProductAttention: a bias of \(bias!.shape) does not broadcast to \(full)")

  let q = denseRows(queries)
  let k = denseRows(keys)
  let v = denseRows(values)
  var added = bias?.detached.cast(to: .float32)
  if let view = added, view.rank == 0 || view.shape[-1] != ks[1] || (ks[1] > 1 && view.strides.last != 1) {
    let last = Shape(Array(view.shape.dimensions.dropLast()) + [ks[1]])
    added = (view.rank == 0 ? view.broadcast(to: [ks[1]]) : view.broadcast(to: last)).contiguous()
  }
  let addedView = added?.broadcast(to: full)
  let sinkScores = sinks?.detached.cast(to: .float32).contiguous()
  let inputs = [queries, keys, values] + [bias, sinks].compactMap { $0 }
  let keeps = Autograd.isRecording && inputs.contains { $0.requiresGradient }
  let lse = keeps ? Tensor.uninitialized([qs[0], qs[2], qs[1]]) : nil
  @Sendable func attentionBias() -> AttentionBias? {
    addedView.map {
      AttentionBias(
        base: UnsafePointer($0.mutablePointer), batchStride: $0.strides[0], headStride: $0.strides[1],
        rowStride: $0.strides[2])
    }
  }
  let output = withExtendedLifetime((q, k, v, addedView, sinkScores)) {
    Tensor.build([qs[0], qs[1], qs[2], vs[3]]) { out in
      CPU.attention(
        shape, queries: HeadRows(q), keys: HeadRows(k), values: HeadRows(v), bias: attentionBias(),
        sinks: sinkScores.map { UnsafePointer($0.mutablePointer) }, output: out, lse: lse?.mutablePointer)
    }
  }
  return Tensor.record("scaledDotProductAttention", output.cast(to: queries.dtype), inputs: inputs) {
    gradient, needed in
    let (dq, dk, dv) = (Tensor.zeros(qs), Tensor.zeros(ks), Tensor.zeros(vs))
    let dbias = bias != nil && needed[3] ? Tensor.zeros(full) : nil
    withExtendedLifetime((q, k, v, addedView, lse)) {
      gradient.read { gradient in
        CPU.attentionGradient(
          shape, queries: HeadRows(q), keys: HeadRows(k), values: HeadRows(v), bias: attentionBias(),
          output: output.mutablePointer, lse: lse!.mutablePointer, gradient: gradient, dq: dq.mutablePointer,
          dk: dk.mutablePointer, dv: dv.mutablePointer, dbias: dbias?.mutablePointer)
      }
    }
    var gradients: [Tensor?] = [dq, dk, dv]
    if let bias { gradients.append(dbias?.summed(to: bias.shape)) }
    if let sinkScores {
      gradients.append(needed.last! ? sinkGradient(sinkScores, lse!, output, gradient) : nil)
    }
    return gradients
  }
}

/// The gradient of the sinks [H]: minus the sum over queries of p(sink) (output . gradient); `lse` [B, H, Lq] in
/// units of log 2.
private func sinkGradient(_ sinks: Tensor, _ lse: Tensor, _ output: Tensor, _ gradient: Tensor) -> Tensor {
  let delta = (output * gradient).sum(axes: [-1]).transposed(1, 2)  // [B, H, Lq]
  let probability = (sinks.reshaped(1, -1, 1) - lse * Float(0.693_147_180_559_945_3)).exp()
  return -(probability * delta).sum(axes: [0, 2])
}

/// The tensor in float32, copied only where its last axis is not dense.
private func denseRows(_ tensor: Tensor) -> Tensor {
  let rows = tensor.detached.cast(to: .float32)
  return rows.strides[3] == 1 || rows.shape[3] == 1 ? rows : rows.contiguous()
}
