/// The outputs [B, L, H, V] and the last state [B, H, K, V] of a non-linear recurrence of matrices.
///
///     S_t = f_t S_{t-1} + (1 - f_t) tanh(S_{t-1} W + k_t^T v_t),  o_t = q_t S_t
///
/// The steps follow one another; work runs in parallel over batch and heads. Gradients flow into all inputs,
/// out of the outputs and the final state; for them every 16th state is kept.
///
/// - Parameters:
///   - q, k: [B, L, H, K].
///   - v: [B, L, H, V].
///   - forget: f, in 0...1, [B, L, H].
///   - transition: W, [H, V, V].
///   - initialState: S_0, [B, H, K, V]; nil is zeros.
/// Source: "M2RNN: non-linear RNNs with matrix-valued states for scalable language modeling", 2026.
public func matrixRecurrence(
  _ q: Tensor, _ k: Tensor, _ v: Tensor, forget: Tensor, transition: Tensor, initialState: Tensor? = nil
) -> (output: Tensor, finalState: Tensor) {
  precondition(
    q.rank == 4 && v.rank == 4 && q.shape == k.shape
      && Array(q.shape.dimensions[0..<3]) == forget.shape.dimensions
      && Array(v.shape.dimensions[0..<3]) == forget.shape.dimensions
      && transition.shape == [v.shape[2], v.shape[3], v.shape[3]],
    "matrixRecurrence: q \(q.shape), k \(k.shape), v \(v.shape), forget \(forget.shape), transition "
      + "\(transition.shape)")
  let (batch, length, heads, keys, values) = (q.shape[0], q.shape[1], q.shape[2], q.shape[3], v.shape[3])
  let stateShape: Shape = [batch, heads, keys, values]
  precondition(
    initialState.map { $0.shape == stateShape } ?? true,
    "matrixRecurrence: an initial state of \(initialState!.shape) where \(stateShape) is wanted")
  let start = initialState ?? .zeros(stateShape)
  let arguments = [q, k, v, forget, transition, start]
  let plain = arguments.map { $0.detached.cast(to: .float32).contiguous() }
  let records = Autograd.isRecording && arguments.contains { $0.requiresGradient }
  func recurrence() -> MatrixRecurrence {
    let pointers = plain.map { UnsafePointer($0.mutablePointer) }
    return MatrixRecurrence(
      batch: batch, length: length, heads: heads, keys: keys, values: values, q: pointers[0], k: pointers[1],
      v: pointers[2], forget: pointers[3], transition: pointers[4])
  }
  let finalState = plain[5].duplicated()
  let output = Tensor.uninitialized([batch, length, heads, values])
  let chunks = (length + MatrixRecurrence.chunk - 1) / MatrixRecurrence.chunk
  let saved = records ? Tensor.uninitialized([batch, heads, chunks, keys, values]) : nil
  withExtendedLifetime((plain, finalState, output, saved)) {
    CPU.matrixRecurrence(
      recurrence(), state: finalState.mutablePointer, saved: saved?.mutablePointer,
      output: output.mutablePointer)
  }
  let results = Tensor.recordMany("matrixRecurrence", [output, finalState], inputs: arguments) {
    gradients, needed in
    let dy = (gradients[0] ?? .zeros([batch, length, heads, values])).detached.cast(to: .float32).contiguous()
    let final = gradients[1].map { $0.detached.cast(to: .float32).contiguous() }
    let made = plain.map { Tensor.uninitialized($0.shape) }
    let perItem = Tensor.uninitialized([batch, heads, values, values])
    withExtendedLifetime((plain, made, perItem, dy, final, saved)) {
      CPU.matrixRecurrenceGradient(
        recurrence(), saved: saved!.mutablePointer, output: dy.mutablePointer,
        finalState: final.map { UnsafePointer($0.mutablePointer) },
        into: MatrixRecurrenceGradients(
          q: made[0].mutablePointer, k: made[1].mutablePointer, v: made[2].mutablePointer,
          forget: made[3].mutablePointer, transition: perItem.mutablePointer,
          initialState: made[5].mutablePointer))
    }
    var all = made
    all[4] = perItem.sum(axes: [0])
    return zip(all, needed).map { $1 ? $0 : nil }
  }
  return (results[0], results[1])
}
