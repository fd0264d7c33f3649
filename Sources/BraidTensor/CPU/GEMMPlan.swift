import CBraidKernels

/// One product C [m, n] = epilogue(A [m, k] B [k, n]), and how its work is split.
struct GEMMPlan {
  var m: Int, n: Int, k: Int
  var a: StridedMatrix
  var c: UnsafeMutablePointer<Float>
  var cRowStride: Int
  var epilogue: GEMMEpilogue

  /// Rows of a task: eight micro-tiles of 14, so that a panel of B is reused while A's rows stay in L2.
  static let taskRows = 112
  /// Above this K, A is copied block by block, sums are carried between blocks.
  static let longestBlock = 1024
  /// Rows of B that are packed at a time where the sums are split.
  static let splitBlock = 384

  /// Whether C is too small, and K large enough, to share the work by splitting the sums.
  var splitsSums: Bool {
    k >= 8192 && m * n <= 1 << 20 && k >= 16 * max(m, n)
  }

  /// The same product restricted to some columns of B and C.
  func columns(_ start: Int, _ count: Int) -> GEMMPlan {
    var part = self
    part.n = count
    part.c += start
    part.epilogue.bias = epilogue.bias.map { $0 + start }
    part.epilogue.residual = epilogue.residual.map { $0 + start }
    return part
  }

  /// Computes C from all of B, packed.
  func run(panels: UnsafePointer<Float>, kernels: braid_gemm_kernels) {
    guard m > 0, n > 0 else { return }
    let width = Int(kernels.panel_width)
    let panelCount = (n + width - 1) / width
    let threads = ThreadPool.threads
    let isTiny = m * n * k < 1 << 17
    var rowBlocks = isTiny ? 1 : (m + Self.taskRows - 1) / Self.taskRows
    // Few rows: split the columns too, but leave each task enough work to be worth its start.
    let blocks = isTiny ? 1 : min(4 * threads, max(1, m * n * k >> 17))
    var columnBlocks = 1
    if rowBlocks < blocks {
      columnBlocks = min(panelCount, (blocks + rowBlocks - 1) / rowBlocks)
      if rowBlocks * columnBlocks < blocks {
        rowBlocks = min((m + 27) / 28, (blocks + columnBlocks - 1) / columnBlocks)
      }
    }
    let partialColumns = k > Self.longestBlock ? 512 / width : panelCount
    columnBlocks = max(columnBlocks, (panelCount + partialColumns - 1) / partialColumns)
    // Tasks that every thread gets as many of: the last ones would keep one thread waiting for another.
    if !isTiny { while rowBlocks < m / 28, rowBlocks * columnBlocks % threads != 0 { rowBlocks += 1 } }
    parallelFor(rowBlocks * columnBlocks) { task in
      let row = task / columnBlocks, column = task % columnBlocks
      let rows = m * row / rowBlocks..<m * (row + 1) / rowBlocks
      let first = panelCount * column / columnBlocks * width
      let columns = first..<min(n, panelCount * (column + 1) / columnBlocks * width)
      if !rows.isEmpty && !columns.isEmpty {
        runTask(rows, columns, panels: panels, kernels: kernels)
      }
    }
  }

  private func runTask(
    _ rows: Range<Int>, _ columns: Range<Int>, panels: UnsafePointer<Float>, kernels: braid_gemm_kernels
  ) {
    var end = epilogue.kernel(row: rows.lowerBound, column: columns.lowerBound)
    withUnsafePointer(to: &end) { end in
      var block = braid_gemm_block()
      block.m = rows.count
      block.n = columns.count
      block.b = panels + columns.lowerBound * k
      block.k_total = k
      block.c = c + rows.lowerBound * cRowStride + columns.lowerBound
      block.c_row = cRowStride
      block.epilogue = end
      let pieces = max(1, (k + Self.longestBlock - 1) / Self.longestBlock)
      let partialCount = pieces > 1 ? rows.count * Self.padded(columns.count, kernels) : 0
      let workspace = Workspace(floats: partialCount + copyCount(rows.count, (k + pieces - 1) / pieces))
      defer { workspace.release() }
      if pieces > 1 { block.partial = workspace.pointer }
      for piece in 0..<pieces {
        let range = k * piece / pieces..<k * (piece + 1) / pieces
        block.k_offset = range.lowerBound
        block.is_first = piece == 0 ? 1 : 0
        block.is_last = piece == pieces - 1 ? 1 : 0
        setA(of: &block, row: rows.lowerBound, range: range, copy: workspace.pointer + partialCount)
        kernels.block(&block)
      }
    }
  }

  /// Computes a C of few elements and long sums: K in a fixed number of lanes, whose sums are added in order.
  func runSplit(_ b: StridedMatrix, kernels: braid_gemm_kernels) {
    let width = Int(kernels.panel_width)
    let columns = Self.padded(n, kernels)
    let lanes = m * n <= 1 << 17 ? 16 : 8
    let sums = Workspace(floats: lanes * m * columns)
    defer { sums.release() }
    parallelFor(lanes) { lane in
      let range = k * lane / lanes..<k * (lane + 1) / lanes
      let pieces = (range.count + Self.splitBlock - 1) / Self.splitBlock
      let longest = (range.count + pieces - 1) / pieces
      let workspace = Workspace(floats: longest * columns + copyCount(m, longest))
      defer { workspace.release() }
      var end = GEMMEpilogue().kernel()
      withUnsafePointer(to: &end) { end in
        var block = braid_gemm_block()
        block.m = m
        block.n = n
        block.b = UnsafePointer(workspace.pointer)
        block.partial = sums.pointer + lane * m * columns
        block.epilogue = end
        for piece in 0..<pieces {
          let lower = range.lowerBound + range.count * piece / pieces
          let part = lower..<range.lowerBound + range.count * (piece + 1) / pieces
          PackedMatrix.pack(
            rows: part.count, columns: n, source: b.pointer + part.lowerBound * b.rowStride,
            rowStride: b.rowStride, columnStride: b.columnStride, into: workspace.pointer, kernels: kernels)
          block.k_total = part.count
          block.is_first = piece == 0 ? 1 : 0
          setA(of: &block, row: 0, range: part, copy: workspace.pointer + longest * columns)
          kernels.block(&block)
        }
      }
    }
    parallelFor((n + width - 1) / width) { panel in
      let column = panel * width
      var end = epilogue.kernel(column: column)
      kernels.finish(
        m, min(width, n - column), sums.pointer + m * column, lanes, m * columns, c + column, cRowStride, &end
      )
    }
  }

  /// Computes at most four rows with a B whose columns are contiguous: dot products, nothing packed.
  func runDots(_ b: StridedMatrix, kernels: braid_gemm_kernels) {
    parallelRanges(n, minimum: max(1, 65536 / max(k, 1))) { range in
      var end = epilogue.kernel(column: range.lowerBound)
      kernels.dot(
        m, range.count, k, a.pointer, a.rowStride, b.pointer + range.lowerBound * b.columnStride,
        b.columnStride, c + range.lowerBound, cRowStride, &end)
    }
  }

  private static func padded(_ columns: Int, _ kernels: braid_gemm_kernels) -> Int {
    let quantum = Int(kernels.quantum)
    return (columns + quantum - 1) / quantum * quantum
  }

  // MARK: A

  /// Whether rows of A are copied before use: neither of its strides is 1, or the distance of its lines is a
  /// multiple of 1 KiB, so that they fall into the same few sets of the first-level cache.
  private func copiesA(_ rows: Int) -> Bool {
    if a.columnStride == 1 { return rows > 4 && n > 64 && a.rowStride % 256 == 0 }
    return a.rowStride != 1 || a.columnStride % 256 == 0
  }

  /// Floats that `setA` needs for its copy.
  private func copyCount(_ rows: Int, _ count: Int) -> Int {
    copiesA(rows) ? max(rows * (count + 16), count * (rows + 16)) : 0
  }

  /// Points the block at A's rows from `row` on and its columns `range`, copied first where that pays.
  private func setA(
    of block: inout braid_gemm_block, row: Int, range: Range<Int>, copy: UnsafeMutablePointer<Float>
  ) {
    let rows = Int(block.m), count = range.count
    let source = a.pointer + row * a.rowStride + range.lowerBound * a.columnStride
    block.k = count
    block.a = source
    block.a_row = a.rowStride
    block.a_column = a.columnStride
    guard copiesA(rows) else { return }
    block.a = UnsafePointer(copy)
    if a.rowStride == 1 {
      block.a_column = rows + 16
      for j in 0..<count { (copy + j * (rows + 16)).update(from: source + j * a.columnStride, count: rows) }
      return
    }
    block.a_row = count + 16
    block.a_column = 1
    for i in 0..<rows {
      let from = source + i * a.rowStride, to = copy + i * (count + 16)
      if a.columnStride == 1 {
        to.update(from: from, count: count)
      } else {
        for j in 0..<count { to[j] = from[j * a.columnStride] }
      }
    }
  }
}
