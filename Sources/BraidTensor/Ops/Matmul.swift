/// activation(a b + bias) over the last two axes; the axes before them broadcast.
///
/// Operands may be views (transposed, sliced, broadcast): the last two axes are read as they lie in memory.
/// - Parameters:
///   - a: [..., M, K].
///   - b: [..., K, N].
///   - bias: [N], or nil.
/// - Returns: [..., M, N].
public func matmul(_ a: Tensor, _ b: Tensor, bias: Tensor? = nil, activation: Activation = .none) -> Tensor {
  guard a.rank >= 2, b.rank >= 2, a.shape[-1] == b.shape[-2], bias.map({ $0.shape == [b.shape[-1]] }) ?? true,
    let batch = Shape.broadcast(
      Shape(Array(a.shape.dimensions.dropLast(2))), Shape(Array(b.shape.dimensions.dropLast(2))))
  else {
    preconditionFailure("matmul: \(a.shape) by \(b.shape), bias \(String(describing: bias?.shape))")
  }
  let inputs = [a, b] + [bias].compactMap { $0 }
  let records = Autograd.isRecording && inputs.contains { $0.requiresGradient }
  let x = a.detached.cast(to: .float32), y = b.detached.cast(to: .float32)
  let argument = CPU.matmul(x, y, batch, bias: bias?.detached, activation: records ? .none : activation)
  if !records { return argument }
  let output = argument.activated(by: activation)
  return Tensor.record("matmul", output, inputs: inputs) { gradient, needed in
    let dz = argument.activationGradient(gradient, output: output, activation)
    let n = dz.shape[-1]
    var results: [Tensor?] = [nil, nil]
    if needed[0] { results[0] = CPU.matmul(dz, y.transposed(), batch).summed(to: x.shape) }
    if needed[1] {
      if y.rank == 2 && x.rank > 2 {
        // One product over all rows, instead of one a batch and their sum.
        results[1] = CPU.matmul(
          x.reshaped(x.elementCount / Swift.max(y.shape[0], 1), y.shape[0]).transposed(),
          dz.reshaped(dz.elementCount / Swift.max(n, 1), n), [])
      } else {
        results[1] = CPU.matmul(x.transposed(), dz, batch).summed(to: y.shape)
      }
    }
    if needed.count > 2 { results.append(needed[2] ? dz.sum(axes: Array(0..<dz.rank - 1)) : nil) }
    return results
  }
}

extension CPU {
  /// The batched product of two float32 views whose leading axes broadcast to `batch`.
  static func matmul(
    _ a: Tensor, _ b: Tensor, _ batch: Shape, bias: Tensor? = nil, activation: Activation = .none
  ) -> Tensor {
    let (m, k, n) = (a.shape[-2], a.shape[-1], b.shape[-1])
    let aOffsets = batchOffsets(a, batch), bOffsets = batchOffsets(b, batch)
    func matrix(_ x: Tensor) -> StridedMatrix {
      StridedMatrix(
        pointer: UnsafePointer(x.storage.pointer.assumingMemoryBound(to: Float.self)) + x.offset,
        rowStride: x.strides[x.rank - 2], columnStride: x.strides[x.rank - 1])
    }
    return Tensor.build(Shape(batch.dimensions + [m, n])) { out in
      withExtendedLifetime((a.storage, b.storage)) {
        func run(_ bias: UnsafePointer<Float>?) {
          gemmBatched(
            m: m, n: n, k: k, a: matrix(a), aOffsets: aOffsets, b: matrix(b), bOffsets: bOffsets, c: out,
            epilogue: GEMMEpilogue(bias: bias, activation: activation))
        }
        if let bias { bias.read { run($0) } } else { run(nil) }
      }
    }
  }

  /// Where each matrix of a broadcast batch begins, in elements from the first.
  private static func batchOffsets(_ x: Tensor, _ batch: Shape) -> [Int] {
    var offsets = [0]
    let leading = x.rank - 2
    for (i, size) in batch.dimensions.enumerated() {
      let axis = i - (batch.rank - leading)
      let stride = axis < 0 || x.shape[axis] == 1 ? 0 : x.strides[axis]
      offsets = offsets.flatMap { first in (0..<size).map { first + $0 * stride } }
    }
    return offsets
  }
}
