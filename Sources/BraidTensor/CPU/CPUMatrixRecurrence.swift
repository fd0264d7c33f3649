import CBraidKernels

/// Arrays of a recurrence of matrices: all dense, [B, L, H, keys] or [B, L, H, values] unless said otherwise.
struct MatrixRecurrence: @unchecked Sendable {
  var batch, length, heads, keys, values: Int
  var q, k, v: UnsafePointer<Float>
  /// [B, L, H]
  var forget: UnsafePointer<Float>
  /// [H, values, values]
  var transition: UnsafePointer<Float>

  /// Steps between saved states.
  static let chunk = 16

  var chunks: Int { (length + Self.chunk - 1) / Self.chunk }
  var stateCount: Int { keys * values }

  /// The step's index in [B, L, H].
  func at(_ batch: Int, _ step: Int, _ head: Int) -> Int { (batch * length + step) * heads + head }
}

/// Gradients of a recurrence of matrices, laid out as its arrays; `transition` is [B, H, values, values].
struct MatrixRecurrenceGradients: @unchecked Sendable {
  var q, k, v, forget, transition, initialState: UnsafeMutablePointer<Float>
}

extension CPU {
  /// C = beta C + op(A) op(B) for dense matrices.
  @inline(__always)
  private static func multiply(
    _ kernels: braid_block_kernels, _ m: Int, _ n: Int, _ k: Int, _ a: UnsafePointer<Float>,
    transposed: Bool = false, _ b: UnsafePointer<Float>, transposedB: Bool = false,
    into c: UnsafeMutablePointer<Float>, adding: Bool = false
  ) {
    var product = braid_block_product()
    product.m = m
    product.n = n
    product.k = k
    product.a = a
    product.a_row = transposed ? m : k
    product.a_transposed = transposed ? 1 : 0
    product.b = b
    product.b_row = transposedB ? k : n
    product.b_transposed = transposedB ? 1 : 0
    product.c = c
    product.c_row = n
    product.alpha = 1
    product.beta = adding ? 1 : 0
    kernels.multiply(&product)
  }

  /// One step: candidate = tanh(S W + k^T v), next = f S + (1 - f) candidate.
  private static func advance(
    _ r: MatrixRecurrence, at index: Int, head: Int, from state: UnsafePointer<Float>,
    candidate: UnsafeMutablePointer<Float>, next: UnsafeMutablePointer<Float>, kernels: braid_kernels
  ) {
    let (keys, values) = (r.keys, r.values)
    multiply(
      kernels.block, keys, values, values, state, r.transition + head * values * values, into: candidate)
    multiply(
      kernels.block, keys, values, 1, r.k + index * keys, r.v + index * values, into: candidate, adding: true)
    kernels.math.unary(BRAID_UNARY_TANH, candidate, candidate, r.stateCount, 0, 0)
    let f = r.forget[index]
    kernels.math.scale_add(f, state, 1 - f, candidate, next, r.stateCount)
  }

  /// Outputs [B, L, H, values]; the states [B, H, keys, values] move past the last step in place. `saved`, where it is
  /// not nil, takes the states before each chunk [B, H, chunks, keys, values].
  static func matrixRecurrence(
    _ r: MatrixRecurrence, state: UnsafeMutablePointer<Float>, saved: UnsafeMutablePointer<Float>?,
    output: UnsafeMutablePointer<Float>, kernels: braid_kernels = braid_kernels_current().pointee
  ) {
    parallelFor(r.batch * r.heads) { task in
      let (batch, head) = task.quotientAndRemainder(dividingBy: r.heads)
      let own = state + task * r.stateCount
      let candidate = Workspace(floats: r.stateCount)
      defer { candidate.release() }
      for step in 0..<r.length {
        if let saved, step % MatrixRecurrence.chunk == 0 {
          (saved + (task * r.chunks + step / MatrixRecurrence.chunk) * r.stateCount).update(
            from: own, count: r.stateCount)
        }
        let index = r.at(batch, step, head)
        advance(
          r, at: index, head: head, from: own, candidate: candidate.pointer, next: own, kernels: kernels)
        multiply(
          kernels.block, 1, r.values, r.keys, r.q + index * r.keys, own, into: output + index * r.values)
      }
    }
  }

  /// All gradients from those of the outputs and of the final states (nil: zeros).
  static func matrixRecurrenceGradient(
    _ r: MatrixRecurrence, saved: UnsafePointer<Float>, output: UnsafePointer<Float>,
    finalState: UnsafePointer<Float>?, into gradients: MatrixRecurrenceGradients,
    kernels: braid_kernels = braid_kernels_current().pointee
  ) {
    let (keys, values, count, chunk) = (r.keys, r.values, r.stateCount, MatrixRecurrence.chunk)
    parallelFor(r.batch * r.heads) { task in
      let (batch, head) = task.quotientAndRemainder(dividingBy: r.heads)
      let weight = r.transition + head * values * values
      let dWeight = gradients.transition + task * values * values
      dWeight.update(repeating: 0, count: values * values)
      let dState = gradients.initialState + task * count
      if let finalState {
        dState.update(from: finalState + task * count, count: count)
      } else {
        dState.update(repeating: 0, count: count)
      }
      let workspace = Workspace(floats: (2 * chunk + 2) * count)
      defer { workspace.release() }
      let states = workspace.pointer
      let candidates = states + (chunk + 1) * count
      let change = candidates + chunk * count
      for part in (0..<r.chunks).reversed() {
        let steps = part * chunk..<min((part + 1) * chunk, r.length)
        states.update(from: saved + (task * r.chunks + part) * count, count: count)
        for (i, step) in steps.enumerated() {
          advance(
            r, at: r.at(batch, step, head), head: head, from: states + i * count,
            candidate: candidates + i * count, next: states + (i + 1) * count, kernels: kernels)
        }
        for step in steps.reversed() {
          let i = step - steps.lowerBound
          let index = r.at(batch, step, head)
          let (before, after, candidate) = (
            states + i * count, states + (i + 1) * count, candidates + i * count
          )
          let dy = output + index * values
          multiply(
            kernels.block, 1, keys, values, dy, after, transposedB: true, into: gradients.q + index * keys)
          multiply(kernels.block, keys, values, 1, r.q + index * keys, dy, into: dState, adding: true)
          gradients.forget[index] = Float(
            kernels.math.dot(dState, before, count) - kernels.math.dot(dState, candidate, count))
          let f = r.forget[index]
          kernels.math.unary_gradient(BRAID_UNARY_TANH, candidate, candidate, dState, change, count, 0, 0)
          kernels.math.unary(BRAID_UNARY_AFFINE, change, change, count, 1 - f, 0)
          multiply(
            kernels.block, keys, 1, values, change, r.v + index * values, into: gradients.k + index * keys)
          multiply(
            kernels.block, 1, values, keys, r.k + index * keys, change, into: gradients.v + index * values)
          multiply(
            kernels.block, values, values, keys, before, transposed: true, change, into: dWeight, adding: true
          )
          kernels.math.unary(BRAID_UNARY_AFFINE, dState, dState, count, f, 0)
          multiply(
            kernels.block, keys, values, values, change, weight, transposedB: true, into: dState,
            adding: true)
        }
      }
    }
  }
}
