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
///   - scale: 1 / sqrt(D) where nil.
public func scaledDotProductAttention(
  _ queries: Tensor, _ keys: Tensor, _ values: Tensor, bias: Tensor? = nil, causal: Bool = false,
  window: Int? = nil, scale: Float? = nil
) -> Tensor {
  let (qs, ks, vs) = (queries.shape, keys.shape, values.shape)
  precondition(
    qs.rank == 4 && ks.rank == 4 && vs.rank == 4 && qs[0] == ks[0] && ks[0] == vs[0] && ks[1] == vs[1]
      && ks[2] == vs[2] && qs[3] == ks[3] && ks[2] > 0 && qs[2] % ks[2] == 0,
    "scaledDotProductAttention: queries \(qs), keys \(ks), values \(vs)")
  precondition(window ?? 1 > 0, "scaledDotProductAttention: a window of \(window!) keys")
  let shape = AttentionShape(
    batch: qs[0], queries: qs[1], keys: ks[1], heads: qs[2], keyHeads: ks[2], width: qs[3], valueWidth: vs[3],
    scale: scale ?? 1 / Float(qs[3]).squareRoot(), causal: causal, window: window)
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
  let inputs = [queries, keys, values] + [bias].compactMap { $0 }
  let keeps = Autograd.isRecording && inputs.contains { $0.requiresGradient }
  let lse = keeps ? Tensor.uninitialized([qs[0], qs[2], qs[1]]) : nil
  @Sendable func attentionBias() -> AttentionBias? {
    addedView.map {
      AttentionBias(
        base: UnsafePointer($0.mutablePointer), batchStride: $0.strides[0], headStride: $0.strides[1],
        rowStride: $0.strides[2])
    }
  }
  let output = withExtendedLifetime((q, k, v, addedView)) {
    Tensor.build([qs[0], qs[1], qs[2], vs[3]]) { out in
      CPU.attention(
        shape, queries: HeadRows(q), keys: HeadRows(k), values: HeadRows(v), bias: attentionBias(),
        output: out,
        lse: lse?.mutablePointer)
    }
  }
  return Tensor.record("scaledDotProductAttention", output.cast(to: queries.dtype), inputs: inputs) {
    gradient, needed in
    let (dq, dk, dv) = (Tensor.zeros(qs), Tensor.zeros(ks), Tensor.zeros(vs))
    let dbias = needed.count > 3 && needed[3] ? Tensor.zeros(full) : nil
    withExtendedLifetime((q, k, v, addedView, lse)) {
      gradient.read { gradient in
        CPU.attentionGradient(
          shape, queries: HeadRows(q), keys: HeadRows(k), values: HeadRows(v), bias: attentionBias(),
          output: output.mutablePointer, lse: lse!.mutablePointer, gradient: gradient, dq: dq.mutablePointer,
          dk: dk.mutablePointer, dv: dv.mutablePointer, dbias: dbias?.mutablePointer)
      }
    }
    return [dq, dk, dv] + (needed.count > 3 ? [dbias?.summed(to: bias!.shape)] : [])
  }
}

/// The tensor in float32, copied only where its last axis is not dense.
private func denseRows(_ tensor: Tensor) -> Tensor {
  let rows = tensor.detached.cast(to: .float32)
  return rows.strides[3] == 1 || rows.shape[3] == 1 ? rows : rows.contiguous()
}
