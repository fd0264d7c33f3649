extension Tensor {
  /// The elements in rising (or falling) order along an axis, and where they stood (int64).
  ///
  /// Equal elements keep their order, in both directions; NaN counts as larger than everything.
  public func sorted(axis: Int = -1, descending: Bool = false) -> (values: Tensor, indices: Tensor) {
    ordered("sorted", axis: axis, count: nil, descending: descending)
  }

  /// The `count` largest (or smallest) elements along an axis in falling (rising) order, and where they stood (int64);
  /// of equal ones the first is taken.
  public func topK(_ count: Int, axis: Int = -1, largest: Bool = true) -> (values: Tensor, indices: Tensor) {
    ordered("topK", axis: axis, count: count, descending: largest)
  }

  /// Where the elements in rising (or falling) order stand along an axis (int64); stable.
  public func argsorted(axis: Int = -1, descending: Bool = false) -> Tensor {
    detached.sorted(axis: axis, descending: descending).indices
  }

  private func ordered(
    _ name: StaticString, axis: Int, count: Int?, descending: Bool
  ) -> (values: Tensor, indices: Tensor) {
    let axis = shape.axis(axis, name)
    let full = shape
    let kept = count ?? full[axis]
    precondition(
      kept >= 0 && kept <= full[axis], "\(name): \(kept) elements of axis \(axis) of \(full)")
    precondition(full[axis] <= Int(UInt32.max), "\(name): axis \(axis) of \(full) is too long")
    let positions = CPU.order(
      detached.cast(to: .float32).transposed(axis, -1), count: kept, descending: descending
    ).transposed(axis, -1).contiguous()
    let values = Tensor.uninitialized(positions.shape, dtype: dtype)
    CPU.gather(detached.contiguous(), axis: axis, positions, into: values)
    let recorded = Tensor.record(name, values, inputs: [self]) { gradient, _ in
      let whole = Tensor.zeros(full)
      CPU.scatterAdd(gradient, axis: axis, positions, into: whole)
      return [whole]
    }
    return (recorded, positions)
  }
}
