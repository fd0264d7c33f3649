extension Tensor {
  /// The solution X of T X = B for triangular matrices T.
  ///
  /// - Parameters:
  ///   - matrix: [..., n, n]; elements on the other side of the diagonal are not read, nor is the diagonal with
  ///     `unitDiagonal`, where it counts as 1. Elements on the diagonal that are 0 give infinities.
  ///   - right: [..., n, m], with the leading axes of `matrix`, or those of either broadcast.
  ///   - upper: whether T is the upper triangle; the lower one otherwise.
  /// - Returns: [..., n, m] (torch.linalg.solve_triangular).
  public static func triangularSolve(
    _ matrix: Tensor, _ right: Tensor, upper: Bool = false, unitDiagonal: Bool = false
  ) -> Tensor {
    precondition(
      matrix.rank >= 2 && right.rank >= 2 && matrix.shape[-1] == matrix.shape[-2]
        && matrix.shape[-1] == right.shape[-2],
      "triangularSolve: a matrix of \(matrix.shape) for \(right.shape)")
    let leading = [matrix, right].map { Shape($0.shape.dimensions.dropLast(2)) }
    guard let batch = Shape.broadcast(leading[0], leading[1]) else {
      preconditionFailure("triangularSolve: a matrix of \(matrix.shape) for \(right.shape)")
    }
    let a = matrix.broadcast(to: Shape(batch.dimensions + matrix.shape.dimensions.suffix(2)))
    let b = right.broadcast(to: Shape(batch.dimensions + right.shape.dimensions.suffix(2)))
    let t = a.detached.cast(to: .float32).contiguous()
    let x = CPU.triangularSolve(
      t, b.detached.cast(to: .float32), upper: upper, transposed: false, unitDiagonal: unitDiagonal)
    return record("triangularSolve", x, inputs: [a, b]) { gradient, needed in
      // dB = T^-T dX; dT = -dB X^T within the triangle.
      let db = CPU.triangularSolve(
        t, gradient, upper: upper, transposed: true, unitDiagonal: unitDiagonal)
      return [
        needed[0]
          ? CPU.triangularOuterProduct(db, x, upper: upper, unitDiagonal: unitDiagonal) : nil,
        db,
      ]
    }
  }

  /// Matrices [..., n, m] with the elements above diagonal number `diagonal` replaced by 0 (torch.tril).
  public func lowerTriangle(diagonal: Int = 0) -> Tensor {
    self * Tensor.triangleMask(shape[-2], shape[-1]) { $1 - $0 <= diagonal }
  }

  /// Matrices [..., n, m] with the elements below diagonal number `diagonal` replaced by 0 (torch.triu).
  public func upperTriangle(diagonal: Int = 0) -> Tensor {
    self * Tensor.triangleMask(shape[-2], shape[-1]) { $1 - $0 >= diagonal }
  }

  private static func triangleMask(_ rows: Int, _ columns: Int, _ keeps: (Int, Int) -> Bool) -> Tensor {
    build([rows, columns]) { out in
      for i in 0..<rows { for j in 0..<columns { out[i * columns + j] = keeps(i, j) ? 1 : 0 } }
    }
  }
}

extension CPU {
  /// Columns that one task solves for: rows of them stay in the cache.
  private static let solvedColumns = 64

  /// T^-1 B, or T^-T B, by substitution row by row.
  fileprivate static func triangularSolve(
    _ matrix: Tensor, _ right: Tensor, upper: Bool, transposed: Bool, unitDiagonal: Bool
  ) -> Tensor {
    let (n, m) = (right.shape[-2], right.shape[-1])
    let batch = right.elementCount / Swift.max(1, n * m)
    let parts = Swift.max(1, (m + solvedColumns - 1) / solvedColumns)
    let axpy = kernels.pointee.math.axpy!
    let forward = upper == transposed
    let (rowStride, columnStride) = transposed ? (1, n) : (n, 1)
    return matrix.read { matrix in
      right.read { b in
        Tensor.build(right.shape) { x in
          let work = Swift.max(1, n * n * Swift.min(m, solvedColumns) / 2)
          parallelRanges(batch * parts, minimum: Swift.max(1, 32_768 / work)) { tasks in
            for task in tasks {
              let (index, part) = task.quotientAndRemainder(dividingBy: parts)
              let start = part * solvedColumns
              let count = Swift.min(solvedColumns, m - start)
              let t = matrix + index * n * n
              let (from, to) = (b + index * n * m + start, x + index * n * m + start)
              for step in 0..<n {
                let i = forward ? step : n - 1 - step
                let row = to + i * m
                row.update(from: from + i * m, count: count)
                for j in forward ? 0..<i : i + 1..<n {
                  let factor = -t[i * rowStride + j * columnStride]
                  if count < 16 {
                    for k in 0..<count { row[k] += factor * to[j * m + k] }
                  } else {
                    axpy(factor, to + j * m, row, count)
                  }
                }
                if !unitDiagonal {
                  let diagonal = t[i * n + i]
                  for k in 0..<count { row[k] /= diagonal }
                }
              }
            }
          }
        }
      }
    }
  }

  /// -A B^T within the triangle, 0 elsewhere: [..., n, n] of A and B [..., n, m].
  fileprivate static func triangularOuterProduct(
    _ a: Tensor, _ b: Tensor, upper: Bool, unitDiagonal: Bool
  ) -> Tensor {
    let (n, m) = (a.shape[-2], a.shape[-1])
    let dimensions = a.shape.dimensions.dropLast() + [n]
    let batch = a.elementCount / Swift.max(1, n * m)
    let dot = kernels.pointee.math.dot!
    return a.read { a in
      b.read { b in
        Tensor.build(Shape(Array(dimensions))) { out in
          parallelRanges(batch * n, minimum: Swift.max(1, 32_768 / Swift.max(1, n * m))) { rows in
            for row in rows {
              let (index, i) = row.quotientAndRemainder(dividingBy: n)
              for j in 0..<n {
                let isInside = i == j ? !unitDiagonal : (j > i) == upper
                out[row * n + j] = isInside ? Float(-dot(a + row * m, b + (index * n + j) * m, m)) : 0
              }
            }
          }
        }
      }
    }
  }
}
