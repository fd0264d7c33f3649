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

  /// For each i, C_i [m, n] = epilogue(A_i B_i), where A_i begins `aOffsets[i]` elements behind A, B_i likewise,
  /// and the C_i lie one after the other. The bias is shared; a residual is laid out as C.
  static func gemmBatched(
    m: Int, n: Int, k: Int, a: StridedMatrix, aOffsets: [Int], b: StridedMatrix, bOffsets: [Int],
    c: UnsafeMutablePointer<Float>, epilogue: GEMMEpilogue = GEMMEpilogue(),
    kernels: braid_gemm_kernels = braid_kernels_current().pointee.gemm
  ) {
    let batch = aOffsets.count
    if batch == 0 { return }
    let sharesB = bOffsets.allSatisfy { $0 == bOffsets[0] }
    let followsA = aOffsets.indices.allSatisfy { aOffsets[$0] == aOffsets[0] + $0 * m * a.rowStride }
    if batch == 1 || (sharesB && followsA) {
      var left = a, right = b
      left.pointer += aOffsets[0]
      right.pointer += bOffsets[0]
      return gemm(
        m: batch * m, n: n, k: k, a: left, b: right, c: c, cRowStride: n, epilogue: epilogue,
        kernels: kernels)
    }
    let shared =
      sharesB && m > 4
      ? PackedMatrix(
        rows: k, columns: n, source: b.pointer + bOffsets[0], rowStride: b.rowStride,
        columnStride: b.columnStride, kernels: kernels) : nil
    let one = { (i: Int) in
      var part = epilogue
      part.residual = part.residual.map { $0 + i * m * n }
      var left = a
      left.pointer += aOffsets[i]
      if let shared {
        gemm(m: m, a: left, b: shared, c: c + i * m * n, cRowStride: n, epilogue: part)
      } else {
        var right = b
        right.pointer += bOffsets[i]
        gemm(
          m: m, n: n, k: k, a: left, b: right, c: c + i * m * n, cRowStride: n, epilogue: part,
          kernels: kernels)
      }
    }
    if batch >= 2 * ThreadPool.threads || m * n * k < 1 << 18 {
      parallelFor(batch, one)
    } else {
      for i in 0..<batch { one(i) }
    }
  }
}
