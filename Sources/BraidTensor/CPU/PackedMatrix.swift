import CBraidKernels

/// A matrix laid out in column panels for `CPU.gemm`: packed once where it is constant.
///
/// The layout belongs to the kernels of one CPU level (`braid_gemm.h`).
final class PackedMatrix: Sendable {
  /// K, the length of the sums.
  let rows: Int
  /// N, the columns of the product.
  let columns: Int
  let kernels: braid_gemm_kernels
  nonisolated(unsafe) let pointer: UnsafeMutablePointer<Float>

  /// Packs B(i, j) = source[i * rowStride + j * columnStride].
  init(
    rows: Int, columns: Int, source: UnsafePointer<Float>, rowStride: Int, columnStride: Int,
    kernels: braid_gemm_kernels = braid_kernels_current().pointee.gemm
  ) {
    self.rows = rows
    self.columns = columns
    self.kernels = kernels
    pointer = Memory.allocate(Self.byteCount(rows, columns, kernels)).assumingMemoryBound(to: Float.self)
    Self.pack(
      rows: rows, columns: columns, source: source, rowStride: rowStride, columnStride: columnStride,
      into: pointer, kernels: kernels)
  }

  /// Packs matrices of `blockRows` rows that lie at `blocks`, one below the other.
  init(
    blocks: [UnsafePointer<Float>], blockRows: Int, columns: Int, rowStride: Int, columnStride: Int,
    kernels: braid_gemm_kernels
  ) {
    rows = blocks.count * blockRows
    self.columns = columns
    self.kernels = kernels
    pointer = Memory.allocate(Self.byteCount(rows, columns, kernels)).assumingMemoryBound(to: Float.self)
    let (width, quantum) = (Int(kernels.panel_width), Int(kernels.quantum))
    let packBlock = { [rows, pointer] (task: Int) in
      let column = task / blocks.count * width, block = task % blocks.count
      let count = min(width, columns - column)
      let packedWidth = (count + quantum - 1) / quantum * quantum
      kernels.pack(
        blockRows, count, blocks[block] + column * columnStride, rowStride, columnStride,
        pointer + column * rows + block * blockRows * packedWidth)
    }
    let tasks = (columns + width - 1) / width * blocks.count
    if rows * columns < 16384 {
      for task in 0..<tasks { packBlock(task) }
    } else {
      parallelFor(tasks, packBlock)
    }
  }

  deinit { Memory.deallocate(pointer, Self.byteCount(rows, columns, kernels)) }

  static func byteCount(_ rows: Int, _ columns: Int, _ kernels: braid_gemm_kernels) -> Int {
    let quantum = Int(kernels.quantum)
    return rows * ((columns + quantum - 1) / quantum * quantum) * 4
  }

  /// Packs into memory of `byteCount` bytes, panels in parallel.
  static func pack(
    rows: Int, columns: Int, source: UnsafePointer<Float>, rowStride: Int, columnStride: Int,
    into pointer: UnsafeMutablePointer<Float>, kernels: braid_gemm_kernels
  ) {
    guard rows > 0, columns > 0 else { return }
    let width = Int(kernels.panel_width), quantum = Int(kernels.quantum)
    let panels = (columns + width - 1) / width
    let packPart = { (panel: Int, start: Int, end: Int) in
      let column = panel * width
      let count = min(width, columns - column)
      let packedWidth = (count + quantum - 1) / quantum * quantum
      kernels.pack(
        end - start, count, source + start * rowStride + column * columnStride, rowStride, columnStride,
        pointer + column * rows + start * packedWidth)
    }
    if rows * columns < 16384 {
      for panel in 0..<panels { packPart(panel, 0, rows) }
      return
    }
    let slices = max(1, rows / 1024)
    parallelFor(panels * slices) { task in
      let slice = task % slices
      packPart(task / slices, rows * slice / slices, rows * (slice + 1) / slices)
    }
  }
}
