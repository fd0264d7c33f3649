extension Tensor {
  /// Writes rows [batch, n, ...] over the rows from `start` on along axis 1.
  ///
  /// In place where nobody else holds the storage, else in a copy. Not recorded: no gradient flows through.
  public mutating func replaceRows(at start: Int, with rows: Tensor) {
    precondition(
      rank >= 2 && rows.rank == rank && start >= 0 && start + rows.shape[1] <= shape[1]
        && rows.shape[0] == shape[0] && rows.shape.dimensions.dropFirst(2) == shape.dimensions.dropFirst(2),
      "replaceRows: \(rows.shape) at row \(start) of \(shape)")
    if !isSoleOwner() { self = detached.duplicated() }
    CPU.copyStrided(
      from: rows.detached.cast(to: dtype), to: sliced(axis: 1, start..<start + rows.shape[1]))
  }
}
