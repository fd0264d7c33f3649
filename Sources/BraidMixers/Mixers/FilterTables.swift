import BraidTensor

/// What a bank of linear time-invariant filters does within a chunk of positions, for each of H heads with N states.
///
/// Within chunks the response is a convolution by Fourier transforms; between them the state is passed on.
struct FilterTables: Sendable {
  /// The response to an impulse, [H, length].
  let kernel: Tensor
  /// What an input leaves in the state j positions later, [H, N, length].
  let absorbed: Tensor
  /// What a state gives j positions after it, [H, N, length].
  let emitted: Tensor
  /// What becomes of the state after `length` positions, [H, N].
  let decay: Tensor

  /// The outputs for u [B, T, M, H] (M sequences for each head) and the state [B, H, M, N] moved past them.
  ///
  /// - Parameters:
  ///   - tables: those of a length.
  ///   - decayed: a state after the time that a `decay` stands for.
  static func filtered(
    _ u: Tensor, state: inout Tensor, chunk: Int, tables: (Int) -> FilterTables,
    decayed: (_ state: Tensor, _ decay: Tensor) -> Tensor
  ) -> Tensor {
    let length = u.shape[1]
    let whole = length / chunk * chunk
    var outputs: [Tensor] = []
    for (range, size) in [(0..<whole, chunk), (whole..<length, length - whole)] where !range.isEmpty {
      outputs.append(
        tables(size).apply(u.sliced(axis: 1, range), length: size, state: &state, decayed: decayed))
    }
    return outputs.count == 1 ? outputs[0] : Tensor.concatenated(outputs, axis: 1)
  }

  private func apply(
    _ u: Tensor, length chunk: Int, state: inout Tensor, decayed: (Tensor, Tensor) -> Tensor
  ) -> Tensor {
    let (batch, count, m, heads) = (u.shape[0], u.shape[1] / chunk, u.shape[2], u.shape[3])
    let parts = u.reshaped(batch, count, chunk, m, heads)
    // Each sequence of each chunk is convolved by itself: [B K M, T, H].
    let convolved = parts.permuted(0, 1, 3, 2, 4).reshaped(batch * count * m, chunk, heads)
      .longConvolved(kernel).reshaped(batch, count, m, chunk, heads).permuted(0, 1, 3, 2, 4)
    // What each chunk adds to the state: [B, K, H, M, T] by [H, T, N].
    let reversed = parts.flipped(axis: 2).permuted(0, 1, 4, 3, 2)
    let added = matmul(reversed, absorbed.transposed())
    var before: [Tensor] = []
    for k in 0..<count {
      before.append(state)
      state = decayed(state, decay) + added.selected(axis: 1, k)
    }
    // [B, K, H, M, N] by [H, N, T], to [B, K, T, M, H].
    let carried = matmul(Tensor.stacked(before, axis: 1), emitted).permuted(0, 1, 4, 3, 2)
    return (convolved + carried).reshaped(u.shape)
  }
}
