import CBraidKernels

/// The outputs [B, L, H, V] and the last state [B, H, K, V] of the gated delta rule, as one operation.
///
///     S_t = (I - beta_t k_t^T k_t) diag(exp(g_t)) S_{t-1} + beta_t k_t^T v_t,  o_t = scale q_t S_t
///
/// Without a decay g this is DeltaNet, with one number a head and step Gated DeltaNet, with one a channel
/// Kimi delta attention. Work grows linearly with length: chunks of 64 steps, each a few small products.
/// Gradients flow into all inputs, out of the outputs and the final state.
///
/// - Parameters:
///   - q: [B, L, Hk, K], where H is a multiple of Hk; neighbouring value heads share a query and a key.
///   - k: as q. The recurrence is stable for keys of norm 1 (or less) and beta in 0...2.
///   - v: [B, L, H, V].
///   - beta: [B, L, H].
///   - logDecay: g, at most 0, [B, L, H] or [B, L, H, K]; nil is no decay.
///   - scale: 1 / sqrt(K) where nil.
///   - initialState: S_0, [B, H, K, V]; nil is zeros.
/// Source: Yang et al., "Parallelizing linear transformers with the delta rule over sequence length", 2024;
/// Yang, Kautz and Hatamizadeh, "Gated delta networks", 2025; Kimi team, "Kimi linear", 2025.
public func deltaRule(
  _ q: Tensor, _ k: Tensor, _ v: Tensor, beta: Tensor, logDecay: Tensor? = nil, scale: Float? = nil,
  initialState: Tensor? = nil
) -> (output: Tensor, finalState: Tensor) {
  precondition(
    q.rank == 4 && v.rank == 4 && q.shape == k.shape && v.shape[0] == q.shape[0] && v.shape[1] == q.shape[1]
      && q.shape[2] > 0 && v.shape[2] % q.shape[2] == 0 && q.shape[1] > 0
      && beta.shape == [v.shape[0], v.shape[1], v.shape[2]],
    "deltaRule: q \(q.shape), k \(k.shape), v \(v.shape), beta \(beta.shape)")
  let (batch, length, heads) = (v.shape[0], v.shape[1], v.shape[2])
  let (keys, values) = (q.shape[3], v.shape[3])
  let perHead: Shape = [batch, length, heads]
  let perChannel: Shape = [batch, length, heads, keys]
  let stateShape: Shape = [batch, heads, keys, values]
  precondition(
    logDecay.map { $0.shape == perHead || $0.shape == perChannel } ?? true,
    "deltaRule: a decay of \(logDecay!.shape) for v \(v.shape) and keys of \(keys)")
  precondition(
    initialState.map { $0.shape == stateShape } ?? true,
    "deltaRule: an initial state of \(initialState!.shape) where \(stateShape) is wanted")
  let shape = DeltaRuleShape(
    batch: batch, length: length, heads: heads, keyHeads: q.shape[2], keys: keys, values: values,
    scale: scale ?? 1 / Float(keys).squareRoot(),
    decay: logDecay.map { $0.rank == 3 ? BRAID_DELTA_HEAD_DECAY : BRAID_DELTA_CHANNEL_DECAY }
      ?? BRAID_DELTA_NO_DECAY)
  let arguments = [q, k, v, beta] + [logDecay, initialState].compactMap { $0 }
  let plain = DeltaRuleArguments(q, k, v, beta: beta, logDecay: logDecay, initialState: initialState)
  let records = Autograd.isRecording && arguments.contains { $0.requiresGradient }
  let trace = records ? DeltaRuleTrace(shape) : nil
  let output = Tensor.uninitialized(v.shape)
  let finalState = Tensor.uninitialized(stateShape)
  withExtendedLifetime((plain, trace, output, finalState)) {
    CPU.deltaRule(
      shape, plain.inputs, output: output.mutablePointer, finalState: finalState.mutablePointer, trace: trace)
  }
  let results = Tensor.recordMany(
    "deltaRule", [output.cast(to: v.dtype), finalState], inputs: arguments
  ) { gradients, needed in
    let given = rows(gradients[0] ?? .zeros([batch, length, heads, values]))
    let final = gradients[1].map { $0.detached.cast(to: .float32).contiguous() }
    var made = [plain.q, plain.k, plain.v, plain.beta].map { Tensor.uninitialized($0.shape) }
    if let decay = plain.logDecay { made.append(.uninitialized(decay.shape)) }
    made.append(.uninitialized(stateShape))
    withExtendedLifetime((plain, trace, given, final, made)) {
      CPU.deltaRuleGradient(
        shape, plain.inputs, trace: trace!, output: HeadRows(given),
        finalState: final.map { UnsafePointer($0.mutablePointer) },
        into: DeltaRuleGradients(
          q: made[0].mutablePointer, k: made[1].mutablePointer, v: made[2].mutablePointer,
          beta: made[3].mutablePointer, decay: plain.logDecay == nil ? nil : made[4].mutablePointer,
          initialState: made[made.count - 1].mutablePointer))
    }
    return zip(made, needed).map { $1 ? $0 : nil }
  }
  return (results[0], results[1])
}

/// The arguments of a call in float32, copied only where their rows are not dense.
private struct DeltaRuleArguments {
  let q, k, v, beta: Tensor
  let logDecay, initialState: Tensor?

  init(_ q: Tensor, _ k: Tensor, _ v: Tensor, beta: Tensor, logDecay: Tensor?, initialState: Tensor?) {
    self.q = rows(q)
    self.k = rows(k)
    self.v = rows(v)
    self.beta = beta.detached.cast(to: .float32)
    self.logDecay = logDecay.map { $0.rank == 4 ? rows($0) : $0.detached.cast(to: .float32) }
    self.initialState = initialState?.detached.cast(to: .float32).contiguous()
  }

  var inputs: DeltaRuleInputs {
    DeltaRuleInputs(
      q: HeadRows(q), k: HeadRows(k), v: HeadRows(v), beta: HeadRows(beta),
      decay: logDecay.map(HeadRows.init),
      initialState: initialState.map { UnsafePointer($0.mutablePointer) })
  }
}

/// The tensor in float32, copied only where its last axis is not dense.
private func rows(_ tensor: Tensor) -> Tensor {
  let rows = tensor.detached.cast(to: .float32)
  return rows.strides[3] == 1 || rows.shape[3] == 1 ? rows : rows.contiguous()
}
