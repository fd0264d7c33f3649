import CBraidKernels

/// What a product ends with: C = residual + scale * activation(A B + bias).
struct GEMMEpilogue {
  /// One value a column.
  var bias: UnsafePointer<Float>?
  var activation = Activation.none
  var scale: Float = 1
  /// Laid out as C; C itself to accumulate into it.
  var residual: UnsafePointer<Float>?
  var residualRowStride = 0

  /// The epilogue of a part of C that begins at a row and a column of it.
  func kernel(row: Int = 0, column: Int = 0) -> braid_epilogue {
    braid_epilogue(
      bias: bias.map { $0 + column },
      residual: residual.map { $0 + row * residualRowStride + column },
      residual_row: residualRowStride, scale: scale, slope: activation.slope, activation: activation.kernel)
  }
}
