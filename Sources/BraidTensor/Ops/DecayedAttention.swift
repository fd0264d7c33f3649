import CBraidKernels

/// Linear attention whose state decays by one factor a token and head, as one operation.
///
///     S_t = exp(g_t) S_{t-1} + k_tᵀ v_t;  o_t = scale q_t S_t
///
/// This is the recurrence of Mamba-2 (q = C, k = B, v = Δ x, g = Δ A), RetNet and Lightning attention (fixed g), of
/// gated retention, and of plain linear attention (no decay).
///
/// - Parameters:
///   - q: [B, L, G, K]; H / G neighbouring heads share a row.
///   - k: [B, L, G, K].
///   - v: [B, L, H, V].
///   - logDecay: g, at most 0: [B, L, H], or [H] for a decay that does not depend on the token, or nil for none.
///     Less than -120 acts as a reset.
///   - scale: multiplies the output.
///   - initialState: S_0, [B, H, K, V]; nil is zero.
/// - Returns: o [B, L, H, V] and S_L [B, H, K, V]; gradients flow into and out of both.
/// Source: Dao and Gu, "Transformers are SSMs", 2024, section 6 (the chunked algorithm).
public func decayedLinearAttention(
  _ q: Tensor, _ k: Tensor, _ v: Tensor, logDecay: Tensor? = nil, scale: Float = 1,
  initialState: Tensor? = nil
) -> (output: Tensor, finalState: Tensor) {
  precondition(
    q.rank == 4 && v.rank == 4 && q.shape == k.shape && q.shape[0] == v.shape[0] && q.shape[1] == v.shape[1]
      && v.shape[2] % Swift.max(1, q.shape[2]) == 0,
    "decayedLinearAttention: q \(q.shape), k \(k.shape), v \(v.shape)")
  var kind = DecayedAttentionLayout.Decay.none
  if let logDecay {
    kind = logDecay.rank == 1 ? .fixed : .perToken
    precondition(
      logDecay.shape == (kind == .fixed ? [v.shape[2]] : [v.shape[0], v.shape[1], v.shape[2]]),
      "decayedLinearAttention: logDecay \(logDecay.shape) for v \(v.shape)")
  }
  return decayedAttention(
    "decayedLinearAttention", q, k, v, logDecay: logDecay, kind: kind, scale: scale,
    initialState: initialState)
}

/// Linear attention whose state decays by one factor a token, head and key, as one operation.
///
///     S_t = diag(exp(g_t)) S_{t-1} + k_tᵀ v_t;  o_t = scale q_t S_t
///
/// - Parameters:
///   - q: [B, L, H, K].
///   - k: [B, L, H, K].
///   - v: [B, L, H, V].
///   - logDecay: g, at most 0, [B, L, H, K]; less than -120 acts as a reset.
///   - scale: multiplies the output.
///   - initialState: S_0, [B, H, K, V]; nil is zero.
/// - Returns: o [B, L, H, V] and S_L [B, H, K, V]; gradients flow into and out of both.
/// Source: Yang et al., "Gated linear attention transformers with hardware-efficient training", 2024, section 4.
public func gatedLinearAttention(
  _ q: Tensor, _ k: Tensor, _ v: Tensor, logDecay: Tensor, scale: Float = 1, initialState: Tensor? = nil
) -> (output: Tensor, finalState: Tensor) {
  precondition(
    q.rank == 4 && v.rank == 4 && q.shape == k.shape && q.shape == logDecay.shape
      && q.shape.dimensions[..<3] == v.shape.dimensions[..<3],
    "gatedLinearAttention: q \(q.shape), k \(k.shape), v \(v.shape), logDecay \(logDecay.shape)")
  return decayedAttention(
    "gatedLinearAttention", q, k, v, logDecay: logDecay, kind: .perChannel, scale: scale,
    initialState: initialState)
}

extension Tensor {
  /// The same numbers as float32 with the last axis without gaps.
  fileprivate var withDenseRows: Tensor {
    let plain = detached.cast(to: .float32)
    return rank > 0 && (plain.strides[rank - 1] == 1 || plain.shape[rank - 1] == 1)
      ? plain : plain.contiguous()
  }

  /// Rows of [B, L, H, width].
  fileprivate var decayedRows: DecayedRows {
    DecayedRows(
      pointer: UnsafePointer(storage.pointer.assumingMemoryBound(to: Float.self)) + offset, batch: strides[0],
      token: strides[1], head: strides[2])
  }
}

private func decayedAttention(
  _ name: StaticString, _ q: Tensor, _ k: Tensor, _ v: Tensor, logDecay: Tensor?,
  kind: DecayedAttentionLayout.Decay, scale: Float, initialState: Tensor?
) -> (output: Tensor, finalState: Tensor) {
  let (batch, length, groups, keys) = (q.shape[0], q.shape[1], q.shape[2], q.shape[3])
  let (heads, values) = (v.shape[2], v.shape[3])
  let stateShape: Shape = [batch, heads, keys, values]
  precondition(
    initialState.map { $0.shape == stateShape } ?? true,
    "\(name): initial state \(initialState!.shape) is not \(stateShape)")
  let layout = DecayedAttentionLayout(
    batch: batch, length: length, heads: heads, groups: groups, keys: keys, values: values, decay: kind,
    scale: scale, isFresh: initialState == nil)
  let arguments = [q, k, v] + [logDecay, initialState].compactMap { $0 }
  let stateIndex = logDecay == nil ? 3 : 4
  let plain = [q, k, v].map(\.withDenseRows)
  let decay = logDecay.map { kind == .perChannel ? $0.withDenseRows : $0.detached.cast(to: .float32) }
  let records = Autograd.isRecording && arguments.contains { $0.requiresGradient }

  func withInputs<Result>(_ body: (DecayedAttentionInputs) -> Result) -> Result {
    withExtendedLifetime((plain, decay)) {
      var inputs = DecayedAttentionInputs(
        q: plain[0].decayedRows, k: plain[1].decayedRows, v: plain[2].decayedRows)
      if let decay {
        inputs.decay =
          kind == .fixed
          ? DecayedRows(
            pointer: UnsafePointer(decay.storage.pointer.assumingMemoryBound(to: Float.self)) + decay.offset,
            batch: 0, token: 0, head: decay.strides[0])
          : decay.decayedRows
      }
      return body(inputs)
    }
  }

  let saved = records ? Tensor.uninitialized([layout.stateCount * layout.chunks]) : nil
  let finalState = Tensor.build(stateShape) { target in
    if let initialState {
      initialState.read { target.update(from: $0, count: layout.stateCount) }
    } else if length == 0 {
      target.update(repeating: 0, count: layout.stateCount)
    }
  }
  let output = Tensor.build(v.shape) { o in
    withInputs { inputs in
      finalState.overwrite(as: Float.self) { state in
        guard let saved else {
          return CPU.decayedAttention(layout, inputs, state: state, saved: nil, o: o)
        }
        saved.overwrite(as: Float.self) {
          CPU.decayedAttention(layout, inputs, state: state, saved: $0, o: o)
        }
      }
    }
  }
  let results = Tensor.recordMany(name, [output, finalState], inputs: arguments) { gradients, needed in
    let dq = Tensor.uninitialized(q.shape)
    let dk = Tensor.uninitialized(k.shape)
    let dv = Tensor.uninitialized(v.shape)
    let decayShape: Shape = kind == .perChannel ? q.shape : [batch, length, heads]
    let wantsDecay = logDecay != nil && (needed[3] || kind == .perChannel)
    let ddecay = wantsDecay ? Tensor.uninitialized(decayShape) : nil
    let dstate = Tensor.build(stateShape) { target in
      if let final = gradients[1] {
        final.read { target.update(from: $0, count: layout.stateCount) }
      } else {
        target.update(repeating: 0, count: layout.stateCount)
      }
    }
    func pointer(_ tensor: Tensor) -> UnsafeMutablePointer<Float> {
      tensor.storage.pointer.assumingMemoryBound(to: Float.self)
    }
    let doutput = gradients[0] ?? .zeros(v.shape)
    doutput.read { doutput in
      saved!.read { saved in
        withInputs { inputs in
          CPU.decayedAttentionGradient(
            layout, inputs, saved: saved, do: doutput,
            into: CPU.DecayedAttentionGradients(
              q: pointer(dq), k: pointer(dk), v: pointer(dv), decay: ddecay.map(pointer),
              state: pointer(dstate)))
        }
      }
    }
    var results: [Tensor?] = [dq, dk, dv]
    if logDecay != nil {
      results.append(kind == .fixed ? ddecay?.sum(axes: [0, 1]) : ddecay)
    }
    if initialState != nil { results.append(needed[stateIndex] ? dstate : nil) }
    return results
  }
  return (results[0], results[1])
}
