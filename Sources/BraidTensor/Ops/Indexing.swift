// Reading and adding at positions that a tensor of indices names. Indices are int32 or int64, counted from 0; one out
// of range is a programmer error. Every sum runs in a fixed order, whatever the number of threads.

extension Tensor {
  /// The elements that `indices` names along an axis: out[i][j][k] = self[indices[i][j][k]][j][k] for axis 0.
  ///
  /// - Parameter indices: of this tensor's rank; along the other axes at most of this tensor's size. The result has
  ///   its shape (torch.gather).
  public func gathered(axis: Int, _ indices: Tensor) -> Tensor {
    let axis = shape.axis(axis, "gathered")
    checkPositions(indices, along: axis, of: shape, "gathered")
    let positions = indices.detached.cast(to: .int64)
    let source = detached.contiguous()
    let output = Tensor.uninitialized(indices.shape, dtype: dtype)
    CPU.gather(source, axis: axis, positions, into: output)
    guard dtype.isFloatingPoint else { return output }
    let full = shape
    return Tensor.record("gathered", output, inputs: [self]) { gradient, _ in
      let whole = Tensor.zeros(full)
      CPU.scatterAdd(gradient, axis: axis, positions, into: whole)
      return [whole]
    }
  }

  /// This tensor with `source` added where `indices` says: out[indices[i][j][k]][j][k] += source[i][j][k] for axis 0.
  ///
  /// - Parameters:
  ///   - indices: of this tensor's rank; along the other axes at most of this tensor's size.
  ///   - source: of the shape of `indices` (torch.scatter_add).
  public func scatterAdded(axis: Int, _ indices: Tensor, _ source: Tensor) -> Tensor {
    let axis = shape.axis(axis, "scatterAdded")
    checkPositions(indices, along: axis, of: shape, "scatterAdded")
    precondition(
      source.shape == indices.shape, "scatterAdded: \(source.shape) at positions of \(indices.shape)")
    let positions = indices.detached.cast(to: .int64)
    let output = Tensor.uninitialized(shape)
    CPU.copyStrided(from: detached.cast(to: .float32), to: output)
    CPU.scatterAdd(source.detached.cast(to: .float32), axis: axis, positions, into: output)
    return Tensor.record("scatterAdded", output.cast(to: dtype), inputs: [self, source]) { gradient, needed in
      [gradient, needed[1] ? gradient.gathered(axis: axis, positions) : nil]
    }
  }

  /// The slices that `indices` [n] names along an axis, in that order; the axis has size n afterwards.
  public func indexSelected(axis: Int, _ indices: Tensor) -> Tensor {
    let axis = shape.axis(axis, "indexSelected")
    precondition(indices.rank == 1, "indexSelected: indices of \(indices.shape) have not one axis")
    let positions = indices.detached.cast(to: .int64)
    var dimensions = shape.dimensions
    dimensions[axis] = indices.shape[0]
    let output = Tensor.uninitialized(Shape(dimensions), dtype: dtype)
    CPU.select(detached.contiguous(), axis: axis, positions, into: output)
    guard dtype.isFloatingPoint else { return output }
    let full = shape
    return Tensor.record("indexSelected", output, inputs: [self]) { gradient, _ in
      let whole = Tensor.zeros(full)
      CPU.addSelected(gradient, axis: axis, positions, into: whole)
      return [whole]
    }
  }

  /// The rows of a table [count, channels] that `ids` names: [ids..., channels].
  public static func embedding(_ table: Tensor, _ ids: Tensor) -> Tensor {
    precondition(table.rank == 2, "embedding: a table of \(table.shape) has not two axes")
    let rows = table.indexSelected(axis: 0, ids.reshaped(-1))
    return rows.reshaped(Shape(ids.shape.dimensions + [table.shape[1]]))
  }

  /// 1 at the class that `ids` names, 0 elsewhere: [ids..., classes], float32. A negative id gives zeros only.
  public static func oneHot(_ ids: Tensor, classes: Int) -> Tensor {
    let output = Tensor.zeros(Shape(ids.shape.dimensions + [classes]))
    ids.read(as: Int64.self) { id in
      output.overwrite(as: Float.self) { out in
        for i in 0..<ids.elementCount where id[i] >= 0 {
          precondition(id[i] < classes, "oneHot: id \(id[i]) is outside 0..<\(classes)")
          out[i * classes + Int(id[i])] = 1
        }
      }
    }
    return output
  }

  private func checkPositions(_ indices: Tensor, along axis: Int, of shape: Shape, _ name: StaticString) {
    precondition(
      !indices.dtype.isFloatingPoint && indices.rank == shape.rank
        && (0..<shape.rank).allSatisfy { $0 == axis || indices.shape[$0] <= shape[$0] },
      "\(name): positions \(indices.dtype.rawValue)\(indices.shape) do not fit \(shape) along axis \(axis)")
  }
}
