import CBraidKernels

/// A matrix in memory: element (i, j) is at pointer[i * rowStride + j * columnStride].
struct StridedMatrix {
  var pointer: UnsafePointer<Float>
  var rowStride: Int
  var columnStride = 1

  var transposed: StridedMatrix {
    StridedMatrix(pointer: pointer, rowStride: columnStride, columnStride: rowStride)
  }
}

// Every element of C is one sum over K in an order that depends on the shapes alone, so results do not depend
// on the number of threads nor on how the work was split.
extension CPU {
  /// C [m, n] = epilogue(A [m, k] B [k, n]), B packed.
  static func gemm(
    m: Int, a: StridedMatrix, b: PackedMatrix, c: UnsafeMutablePointer<Float>, cRowStride: Int,
    epilogue: GEMMEpilogue = GEMMEpilogue()
  ) {
    let plan = GEMMPlan(m: m, n: b.columns, k: b.rows, a: a, c: c, cRowStride: cRowStride, epilogue: epilogue)
    withExtendedLifetime(b) { plan.run(panels: b.pointer, kernels: b.kernels) }
  }

  /// C [m, n] = epilogue(A [m, k] B [k, n]), B as it lies in memory.
  static func gemm(
    m: Int, n: Int, k: Int, a: StridedMatrix, b: StridedMatrix, c: UnsafeMutablePointer<Float>,
    cRowStride: Int, epilogue: GEMMEpilogue = GEMMEpilogue(),
    kernels: braid_gemm_kernels = braid_kernels_current().pointee.gemm
  ) {
    let plan = GEMMPlan(m: m, n: n, k: k, a: a, c: c, cRowStride: cRowStride, epilogue: epilogue)
    if plan.splitsSums { return plan.runSplit(b, kernels: kernels) }
    if m <= 4, b.rowStride == 1, a.columnStride == 1 { return plan.runDots(b, kernels: kernels) }
    // Packing takes slabs of columns, so that the workspace stays bounded.
    let width = Int(kernels.panel_width)
    let slab = max(width, (16 << 20) / max(k, 1) / width * width)
    let workspace = Workspace(floats: PackedMatrix.byteCount(k, min(n, slab), kernels) / 4)
    defer { workspace.release() }
    let panels = workspace.pointer
    for column in stride(from: 0, to: n, by: slab) {
      let columns = min(slab, n - column)
      PackedMatrix.pack(
        rows: k, columns: columns, source: b.pointer + column * b.columnStride, rowStride: b.rowStride,
        columnStride: b.columnStride, into: panels, kernels: kernels)
      plan.columns(column, columns).run(panels: panels, kernels: kernels)
    }
  }

  /// For each i in 0..<batch, C_i = epilogue(A_i B_i); a batch stride of 0 shares a matrix. The bias is shared;
  /// a residual, if any, is strided as C.
  static func gemmBatched(
    batch: Int, m: Int, n: Int, k: Int, a: StridedMatrix, aBatchStride: Int, b: StridedMatrix,
    bBatchStride: Int, c: UnsafeMutablePointer<Float>, cRowStride: Int, cBatchStride: Int,
    epilogue: GEMMEpilogue = GEMMEpilogue(),
    kernels: braid_gemm_kernels = braid_kernels_current().pointee.gemm
  ) {
    if batch == 0 { return }
    let mergesRows =
      bBatchStride == 0 && aBatchStride == m * a.rowStride && cBatchStride == m * cRowStride
      && (epilogue.residual == nil || epilogue.residualRowStride == cRowStride)
    if batch == 1 || mergesRows {
      return gemm(
        m: batch * m, n: n, k: k, a: a, b: b, c: c, cRowStride: cRowStride, epilogue: epilogue,
        kernels: kernels)
    }
    let shared =
      bBatchStride == 0 && m > 4
      ? PackedMatrix(
        rows: k, columns: n, source: b.pointer, rowStride: b.rowStride, columnStride: b.columnStride,
        kernels: kernels) : nil
    let one = { (i: Int) in
      var part = epilogue
      part.residual = part.residual.map { $0 + i * cBatchStride }
      var left = a
      left.pointer += i * aBatchStride
      if let shared {
        gemm(m: m, a: left, b: shared, c: c + i * cBatchStride, cRowStride: cRowStride, epilogue: part)
      } else {
        var right = b
        right.pointer += i * bBatchStride
        gemm(
          m: m, n: n, k: k, a: left, b: right, c: c + i * cBatchStride, cRowStride: cRowStride,
          epilogue: part, kernels: kernels)
      }
    }
    if batch >= 2 * ThreadPool.threads || m * n * k < 1 << 18 {
      parallelFor(batch, one)
    } else {
      for i in 0..<batch { one(i) }
    }
  }
}
