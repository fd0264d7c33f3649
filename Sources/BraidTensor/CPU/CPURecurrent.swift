import CBraidKernels

extension CPU {
  /// What an LSTM computed: outputs [B, L, H], the last state, and for the gradient all gates [B, L, 4H] (after their
  /// functions) and cells [B, L, H].
  struct LSTMSteps {
    let output, hidden, cell: Tensor
    let gates, cells: Tensor?
  }

  static func lstm(
    projected: Tensor, weight: Tensor, hidden: Tensor, cell: Tensor, reversed: Bool, keepingGates: Bool
  ) -> LSTMSteps {
    let (batch, length) = (projected.shape[0], projected.shape[1])
    let size = hidden.shape[1]
    let width = 4 * size
    let packed = weight.packedTransposed()
    let math = kernels.pointee.math
    let output = Tensor.uninitialized([batch, length, size])
    // Without gradients one step's gates and cells are enough.
    let kept = keepingGates ? length : 1
    let gates = Tensor.uninitialized([batch, kept, width])
    let cells = Tensor.uninitialized([batch, kept, size])
    let last = Tensor.uninitialized([batch, size])
    let lastCell = Tensor.uninitialized([batch, size])
    pointers(output, gates, cells, last, lastCell) { pointers in
      let (y, g, c, h, state) = (pointers[0], pointers[1], pointers[2], pointers[3], pointers[4])
      hidden.read { h.update(from: $0, count: batch * size) }
      cell.read { state.update(from: $0, count: batch * size) }
      projected.read { x in
        for step in 0..<length {
          let t = reversed ? length - 1 - step : step
          let at = keepingGates ? t : 0
          var epilogue = GEMMEpilogue()
          epilogue.residual = x + t * width
          epilogue.residualRowStride = length * width
          gemm(
            m: batch, a: StridedMatrix(pointer: UnsafePointer(h), rowStride: size), b: packed,
            c: g + at * width, cRowStride: kept * width, epilogue: epilogue)
          parallelRanges(batch, minimum: Swift.max(1, 4096 / size)) { rows in
            for b in rows {
              let gate = g + (b * kept + at) * width
              math.unary(BRAID_UNARY_SIGMOID, gate, gate, 2 * size, 0, 0)
              math.unary(BRAID_UNARY_TANH, gate + 2 * size, gate + 2 * size, size, 0, 0)
              math.unary(BRAID_UNARY_SIGMOID, gate + 3 * size, gate + 3 * size, size, 0, 0)
              let (state, h) = (state + b * size, h + b * size)
              for k in 0..<size { state[k] = gate[size + k] * state[k] + gate[k] * gate[2 * size + k] }
              math.unary(BRAID_UNARY_TANH, state, h, size, 0, 0)
              for k in 0..<size { h[k] *= gate[3 * size + k] }
              (y + (b * length + t) * size).update(from: h, count: size)
              (c + (b * kept + at) * size).update(from: state, count: size)
            }
          }
        }
      }
    }
    return LSTMSteps(
      output: output, hidden: last, cell: lastCell, gates: keepingGates ? gates : nil,
      cells: keepingGates ? cells : nil)
  }

  /// The gradients of (projected, weight, hidden, cell) from those of (output, hidden, cell).
  static func lstmGradients(
    _ gradients: [Tensor?], _ steps: LSTMSteps, weight: Tensor, hidden: Tensor, cell: Tensor, reversed: Bool,
    needed: [Bool]
  ) -> [Tensor?] {
    let gates = steps.gates!
    let (batch, length, width) = (gates.shape[0], gates.shape[1], gates.shape[2])
    let size = width / 4
    let math = kernels.pointee.math
    let packed = weight.contiguous().read { w in
      PackedMatrix(rows: width, columns: size, source: w, rowStride: size, columnStride: 1)
    }
    let dGates = Tensor.uninitialized([batch, length, width])
    let dHidden = (gradients[1] ?? Tensor.zeros([batch, size])).copied()
    let dCell = (gradients[2] ?? Tensor.zeros([batch, size])).copied()
    pointers(dGates, dHidden, dCell) { pointers in
      let (dg, dh, dc) = (pointers[0], pointers[1], pointers[2])
      let dy = gradients[0] ?? Tensor(0).broadcast(to: [batch, length, size])
      readAll(dy, gates, steps.cells!, cell) { all in
        let (dy, g, c, initial) = (all[0], all[1], all[2], all[3])
        for step in (0..<length).reversed() {
          let t = reversed ? length - 1 - step : step
          let before = reversed ? t + 1 : t - 1
          parallelRanges(batch, minimum: Swift.max(1, 4096 / size)) { rows in
            withUnsafeTemporaryAllocation(of: Float.self, capacity: size) { squashed in
              for b in rows {
                let gate = g + (b * length + t) * width
                let out = dg + (b * length + t) * width
                let state = c + (b * length + t) * size
                let previous = step == 0 ? initial + b * size : c + (b * length + before) * size
                let (dh, dc) = (dh + b * size, dc + b * size)
                let dy = dy + (b * length + t) * size
                let tanhs = squashed.baseAddress!
                math.unary(BRAID_UNARY_TANH, state, tanhs, size, 0, 0)
                for k in 0..<size {
                  let (i, f, n, o) = (gate[k], gate[size + k], gate[2 * size + k], gate[3 * size + k])
                  let h = dh[k] + dy[k]
                  let d = dc[k] + h * o * (1 - tanhs[k] * tanhs[k])
                  out[k] = d * n * i * (1 - i)
                  out[size + k] = d * previous[k] * f * (1 - f)
                  out[2 * size + k] = d * i * (1 - n * n)
                  out[3 * size + k] = h * tanhs[k] * o * (1 - o)
                  dc[k] = d * f
                }
              }
            }
          }
          gemm(
            m: batch,
            a: StridedMatrix(pointer: UnsafePointer(dg) + t * width, rowStride: length * width), b: packed,
            c: dh, cRowStride: size)
        }
      }
    }
    var dWeight: Tensor?
    if needed[1] {
      // The hidden states that each step started from.
      let inner = steps.output.sliced(axis: 1, reversed ? 1..<length : 0..<length - 1)
      let first = hidden.unsqueezed(1)
      let starts = Tensor.concatenated(reversed ? [inner, first] : [first, inner], axis: 1)
      dWeight = product(
        dGates.reshaped(batch * length, width).transposed(), starts.reshaped(batch * length, size))
    }
    return [dGates, dWeight, dHidden, dCell]
  }

  /// Calls `body` with the float32 memory of contiguous tensors that it writes.
  private static func pointers(_ tensors: Tensor..., body: ([UnsafeMutablePointer<Float>]) -> Void) {
    withExtendedLifetime(tensors) {
      body(tensors.map { $0.storage.pointer.assumingMemoryBound(to: Float.self) + $0.offset })
    }
  }

  private static func readAll(_ tensors: Tensor..., body: ([UnsafePointer<Float>]) -> Void) {
    let plain = tensors.map { $0.contiguous() }
    withExtendedLifetime(plain) {
      body(plain.map { UnsafePointer($0.storage.pointer.assumingMemoryBound(to: Float.self) + $0.offset) })
    }
  }
}

extension Tensor {
  /// The elements in memory of their own.
  fileprivate func copied() -> Tensor {
    let copy = Tensor.uninitialized(shape, dtype: dtype)
    CPU.copyStrided(from: detached, to: copy)
    return copy
  }
}
