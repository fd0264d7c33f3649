import CBraidKernels

extension CPU {
  /// The reduced axes as [prefix, reduced, suffix] blocks of a contiguous tensor.
  struct ReductionLayout {
    /// The input, its axes reordered so that the reduced ones are neighbours, contiguous.
    let input: Tensor
    let prefix, reduced, suffix: Int
    let kept: Shape
  }

  static func layout(_ x: Tensor, axes: [Int]) -> ReductionLayout {
    let isReduced = (0..<x.rank).map { axes.contains($0) }
    let kept = (0..<x.rank).filter { !isReduced[$0] }
    let reducedAxes = (0..<x.rank).filter { isReduced[$0] }
    let reduced = reducedAxes.reduce(1) { $0 * x.shape[$1] }
    let keptShape = Shape(kept.map { x.shape[$0] })
    let neighbours = reducedAxes.isEmpty || reducedAxes.last! - reducedAxes.first! + 1 == reducedAxes.count
    if neighbours, let first = reducedAxes.first {
      let prefix = (0..<first).reduce(1) { $0 * x.shape[$1] }
      return ReductionLayout(
        input: x.contiguous(), prefix: prefix, reduced: reduced,
        suffix: keptShape.elementCount / Swift.max(prefix, 1), kept: keptShape)
    }
    return ReductionLayout(
      input: x.permuted(kept + reducedAxes).contiguous(), prefix: keptShape.elementCount, reduced: reduced,
      suffix: 1, kept: keptShape)
  }

  /// Rows that one task adds up; fixed, so that the result does not depend on the number of threads.
  private static let sumRows = 1024

  /// The sums over the middle axis of [prefix, reduced, suffix]: [prefix, suffix].
  static func sum(_ layout: ReductionLayout) -> Tensor {
    let (prefix, reduced, suffix) = (layout.prefix, layout.reduced, layout.suffix)
    let math = kernels.pointee.math
    return layout.input.read { x in
      Tensor.build(layout.kept) { out in
        if suffix == 1 {
          parallelRanges(prefix, minimum: Swift.max(1, 16_384 / Swift.max(reduced, 1))) { range in
            for i in range { out[i] = Float(math.sum(x + i * reduced, reduced)) }
          }
          return
        }
        let chunks = Swift.max(1, (reduced + sumRows - 1) / sumRows)
        if chunks == 1 {
          parallelRanges(prefix, minimum: Swift.max(1, 16_384 / Swift.max(reduced * suffix, 1))) { range in
            for i in range {
              (out + i * suffix).update(repeating: 0, count: suffix)
              math.column_sum(x + i * reduced * suffix, reduced, suffix, suffix, out + i * suffix)
            }
          }
          return
        }
        withUnsafeTemporaryAllocation(of: Float.self, capacity: prefix * chunks * suffix) { partial in
          let partial = partial.baseAddress!
          parallelFor(prefix * chunks) { task in
            let (i, chunk) = task.quotientAndRemainder(dividingBy: chunks)
            let rows = Swift.min(sumRows, reduced - chunk * sumRows)
            (partial + task * suffix).update(repeating: 0, count: suffix)
            math.column_sum(
              x + (i * reduced + chunk * sumRows) * suffix, rows, suffix, suffix, partial + task * suffix)
          }
          for i in 0..<prefix {
            (out + i * suffix).update(repeating: 0, count: suffix)
            math.column_sum(partial + i * chunks * suffix, chunks, suffix, suffix, out + i * suffix)
          }
        }
      }
    }
  }

  /// The extremes over the last axis of rows, with their positions.
  static func extreme(_ layout: ReductionLayout, largest: Bool) -> (values: Tensor, indices: Tensor) {
    let rows = layout.suffix == 1 ? layout.prefix : layout.prefix * layout.suffix
    let reduced = layout.reduced
    precondition(reduced > 0, "max or min over an axis of size 0")
    let input =
      layout.suffix == 1
      ? layout.input
      : layout.input.reshaped(Shape([layout.prefix, reduced, layout.suffix])).transposed(1, 2).contiguous()
    let math = kernels.pointee.math
    var indices = [Int64](repeating: 0, count: rows)
    let values = input.read { x in
      Tensor.build(layout.kept) { out in
        indices.withUnsafeMutableBufferPointer { indices in
          let indices = indices.baseAddress
          parallelRanges(rows, minimum: Swift.max(1, 16_384 / reduced)) { range in
            for row in range {
              let start = x + row * reduced
              let index = largest ? math.argmax(start, reduced) : math.argmin(start, reduced)
              indices![row] = Int64(index)
              out[row] = start[index]
            }
          }
        }
      }
    }
    return (values, Tensor(indices, shape: layout.kept))
  }
}
