import CBraidKernels

/// A matrix in bfloat16, laid out in column panels for `CPU.gemm`: half the memory of `PackedMatrix`, and twice
/// its speed on machines that multiply bfloat16.
final class PackedMatrix16: Sendable {
  /// K, the length of the sums.
  let rows: Int
  /// N, the columns of the product.
  let columns: Int
  let kernels: braid_gemm_kernels
  nonisolated(unsafe) let pointer: UnsafeMutablePointer<UInt16>
  private let byteCount: Int

  /// Rounds and packs B(i, j) = source[i * rowStride + j * columnStride].
  init(
    rows: Int, columns: Int, source: UnsafePointer<Float>, rowStride: Int, columnStride: Int,
    kernels: braid_gemm_kernels = braid_kernels_current().pointee.gemm
  ) {
    self.rows = rows
    self.columns = columns
    self.kernels = kernels
    let (width, quantum) = (Int(kernels.panel_width), Int(kernels.quantum))
    let even = rows + rows % 2
    byteCount = even * ((columns + quantum - 1) / quantum * quantum) * 2
    pointer = Memory.allocate(byteCount).assumingMemoryBound(to: UInt16.self)
    parallelFor((columns + width - 1) / width) { [pointer] panel in
      let column = panel * width
      kernels.pack16(
        rows, min(width, columns - column), source + column * columnStride, rowStride, columnStride,
        pointer + column * even)
    }
  }

  deinit { Memory.deallocate(pointer, byteCount) }
}

extension CPU {
  /// C [m, n] = epilogue(A [m, k] B [k, n]), B packed in bfloat16, sums in float32. On machines that multiply
  /// bfloat16, A is rounded to it.
  static func gemm(
    m: Int, a: StridedMatrix, b: PackedMatrix16, c: UnsafeMutablePointer<Float>, cRowStride: Int,
    epilogue: GEMMEpilogue = GEMMEpilogue()
  ) {
    withExtendedLifetime(b) {
      gemm16(
        m: m, n: b.columns, k: b.rows, a: a, panels: b.pointer, c: c, cRowStride: cRowStride,
        epilogue: epilogue, kernels: b.kernels)
    }
  }

  /// The same with the panels of B [k, n] alone.
  static func gemm16(
    m: Int, n: Int, k: Int, a: StridedMatrix, panels: UnsafePointer<UInt16>, c: UnsafeMutablePointer<Float>,
    cRowStride: Int, epilogue: GEMMEpilogue, kernels: braid_gemm_kernels
  ) {
    guard m > 0, n > 0 else { return }
    let width = Int(kernels.panel_width)
    let panelCount = (n + width - 1) / width
    let tasks = m * n * k < 1 << 18 ? 1 : max(1, min(4 * ThreadPool.threads, m * n * k >> 18))
    let rowBlocks = max((m + GEMMPlan.taskRows - 1) / GEMMPlan.taskRows, 1)
    let columnBlocks = max(1, min(panelCount, tasks / rowBlocks))
    let even = k + k % 2
    parallelFor(rowBlocks * columnBlocks) { task in
      let row = task / columnBlocks, column = task % columnBlocks
      let rows = m * row / rowBlocks..<m * (row + 1) / rowBlocks
      let first = panelCount * column / columnBlocks * width
      let columns = first..<min(n, panelCount * (column + 1) / columnBlocks * width)
      let scratch = Workspace(floats: max(width * k, rows.count * (k + 2) / 2 + 32))
      defer { scratch.release() }
      var end = epilogue.kernel(row: rows.lowerBound, column: first)
      withUnsafePointer(to: &end) { end in
        var block = braid_gemm_block()
        block.m = rows.count
        block.n = columns.count
        block.k = k
        let copies = a.columnStride != 1 && (a.rowStride != 1 || kernels.is_native16 != 0)
        let copied = Workspace(floats: copies ? rows.count * k : 0)
        defer { copied.release() }
        let source = a.pointer + rows.lowerBound * a.rowStride
        if copies {
          for i in 0..<rows.count {
            for j in 0..<k { copied.pointer[i * k + j] = source[i * a.rowStride + j * a.columnStride] }
          }
        }
        block.a = copies ? UnsafePointer(copied.pointer) : source
        block.a_row = copies ? k : a.rowStride
        block.a_column = copies ? 1 : a.columnStride
        block.b16 = panels + first * even
        block.c = c + rows.lowerBound * cRowStride + first
        block.c_row = cRowStride
        block.epilogue = end
        block.scratch = scratch.pointer
        kernels.block16(&block)
      }
    }
  }
}
