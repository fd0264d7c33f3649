import CBraidKernels

/// Where the windows of queries and keys lie in an image.
struct WindowGeometry: Sendable {
  var batch, height, width: Int
  var heads, headWidth: Int
  /// Side of a query window; it divides height and width.
  var window: Int
  /// Side of a key window, centred on the query window; beyond the image its keys and values are zeros.
  var keyWindow: Int
  /// Cyclic shift of the windows, down and to the right; 0 where key windows overlap.
  var shiftY = 0, shiftX = 0

  var channels: Int { heads * headWidth }
  var queries: Int { window * window }
  var keys: Int { keyWindow * keyWindow }
  var rows: Int { height / window }
  var columns: Int { width / window }
  var windows: Int { batch * rows * columns }
  var overlaps: Bool { keyWindow != window }

  /// Writes the pixel indices of a window's queries, times `stride`.
  func queryOffsets(_ index: Int, stride: Int, _ out: UnsafeMutablePointer<Int>) {
    let (image, row, column) = position(index)
    var next = out
    for i in 0..<window {
      var y = row * window + i + shiftY
      if y >= height { y -= height }
      for j in 0..<window {
        var x = column * window + j + shiftX
        if x >= width { x -= width }
        next.pointee = ((image * height + y) * width + x) * stride
        next += 1
      }
    }
  }

  /// Writes the pixel indices of a window's keys, times `stride`; -1 beyond the image.
  func keyOffsets(_ index: Int, stride: Int, _ out: UnsafeMutablePointer<Int>) {
    guard overlaps else { return queryOffsets(index, stride: stride, out) }
    let (image, row, column) = position(index)
    let margin = (keyWindow - window) / 2
    var next = out
    for i in 0..<keyWindow {
      let y = row * window - margin + i
      for j in 0..<keyWindow {
        let x = column * window - margin + j
        let inside = y >= 0 && y < height && x >= 0 && x < width
        next.pointee = inside ? ((image * height + y) * width + x) * stride : -1
        next += 1
      }
    }
  }

  private func position(_ index: Int) -> (image: Int, row: Int, column: Int) {
    let (image, rest) = index.quotientAndRemainder(dividingBy: rows * columns)
    return (image, rest / columns, rest % columns)
  }

  /// 0 for a window inside the image; bit 0: it holds rows, bit 1: columns, of both sides of the cyclic seam.
  func seam(_ index: Int) -> Int {
    let (_, row, column) = position(index)
    return (shiftY > 0 && row == rows - 1 ? 1 : 0) + (shiftX > 0 && column == columns - 1 ? 2 : 0)
  }
}

/// Rows that keep the two sides of the cyclic seam apart: the added score is -100 between them.
///
/// Per kind of window (`WindowGeometry.seam`, 1...3) and query, a row of one number per key, in units of log 2.
final class SeamMasks: @unchecked Sendable {
  private let rows: UnsafeMutablePointer<Float>
  private let pointers: UnsafeMutablePointer<UnsafePointer<Float>?>
  private let queries: Int

  init(_ geometry: WindowGeometry) {
    let window = geometry.window
    queries = geometry.queries
    rows = .allocate(capacity: 12 * queries)
    pointers = .allocate(capacity: 3 * queries)
    let (cutY, cutX) = (window - geometry.shiftY, window - geometry.shiftX)
    for seam in 1...3 {
      func region(_ i: Int, _ j: Int) -> Int {
        (seam & 1 != 0 && i >= cutY ? 1 : 0) + (seam & 2 != 0 && j >= cutX ? 2 : 0)
      }
      for own in 0..<4 {
        let row = rows + ((seam - 1) * 4 + own) * queries
        for i in 0..<window {
          for j in 0..<window { row[i * window + j] = region(i, j) == own ? 0 : -100 * CPU.log2OfE }
        }
      }
      for i in 0..<window {
        for j in 0..<window {
          pointers[(seam - 1) * queries + i * window + j] = UnsafePointer(
            rows + ((seam - 1) * 4 + region(i, j)) * queries)
        }
      }
    }
  }

  deinit {
    rows.deallocate()
    pointers.deallocate()
  }

  /// The mask row of every query of a window of that kind; nil for an inner one.
  func masks(_ seam: Int) -> UnsafePointer<UnsafePointer<Float>?>? {
    seam == 0 ? nil : UnsafePointer(pointers + (seam - 1) * queries)
  }
}

/// Rows of some width inside an image of `stride` floats to a pixel.
struct PixelRows: @unchecked Sendable {
  var base: UnsafePointer<Float>
  var stride: Int
}

extension CPU {
  static let log2OfE: Float = 1.442_695_04

  /// Ranges of at most BRAID_ATTENTION_KEYS keys, of nearly equal length.
  static func keyBlocks(_ keys: Int, most: Int = Int(BRAID_ATTENTION_KEYS)) -> [Range<Int>] {
    let count = Swift.max(1, (keys + most - 1) / most)
    return (0..<count).map { keys * $0 / count..<keys * ($0 + 1) / count }
  }

  /// Softmax attention inside windows; queries, keys and values are [B, H, W, heads, d] inside wider pixels.
  ///
  /// - Parameters:
  ///   - bias: [heads, queries, keys], added to the scaled scores.
  ///   - output: [B, H, W, channels].
  ///   - lse: [heads, windows, queries], what the backward pass recomputes the probabilities from.
  static func windowAttention(
    _ geometry: WindowGeometry, queries: PixelRows, keys: PixelRows, values: PixelRows,
    bias: UnsafePointer<Float>?, scale: Float, output: UnsafeMutablePointer<Float>,
    lse: UnsafeMutablePointer<Float>?, kernels table: braid_kernels = kernels.pointee
  ) {
    let kernels = table.attention
    let (count, keyCount, d) = (geometry.queries, geometry.keys, geometry.headWidth)
    let width = padded(d, kernels.panel)
    let seams = geometry.shiftY + geometry.shiftX > 0 ? SeamMasks(geometry) : nil
    let blocks = keyBlocks(keyCount)
    let longest = blocks.map(\.count).max()!
    // A window's pixels serve all its heads from the cache; heads are shared out only where windows are few.
    let wanted = 4 * ThreadPool.threads
    let headTasks =
      geometry.windows >= wanted
      ? 1 : Swift.min(geometry.heads, (wanted + geometry.windows - 1) / Swift.max(1, geometry.windows))

    parallelFor(geometry.windows * headTasks) { task in
      let (window, part) = task.quotientAndRemainder(dividingBy: headTasks)
      withWorkspace(
        floats: [
          d * queryStride(count), padded(longest, kernels.panel) * d, longest * width, count, count,
          count * width,
          Int(BRAID_ATTENTION_ROWS * BRAID_ATTENTION_KEYS),
        ], offsets: [count, keyCount, keyCount, count]
      ) { floats, offsets in
        geometry.queryOffsets(window, stride: queries.stride, offsets[0])
        geometry.keyOffsets(window, stride: keys.stride, offsets[1])
        geometry.keyOffsets(window, stride: values.stride, offsets[2])
        geometry.queryOffsets(window, stride: geometry.channels, offsets[3])
        var block = braid_attention_block()
        block.scores.rows = count
        block.scores.d = d
        block.scores.dv = d
        block.scores.queries = UnsafePointer(floats[0])
        block.scores.query_row = queryStride(count)
        block.scores.keys = UnsafePointer(floats[1])
        block.scores.bias_stride = keyCount
        block.scores.bias_scale = log2OfE
        block.scores.masks = seams?.masks(geometry.seam(window))
        block.scores.below = .min
        block.scores.above = .max
        block.values = UnsafePointer(floats[2])
        block.maximum = floats[3]
        block.total = floats[4]
        block.output = floats[5]
        block.scratch = floats[6]
        for head in geometry.heads * part / headTasks..<geometry.heads * (part + 1) / headTasks {
          let start = head * d
          kernels.transpose(queries.base + start, offsets[0], count, d, 1, floats[0], queryStride(count))
          for keyRange in blocks {
            let first = keyRange.lowerBound
            kernels.pack_transposed(
              keys.base + start, offsets[1] + first, keyRange.count, d, scale * log2OfE, floats[1])
            kernels.pack_rows(values.base + start, offsets[2] + first, keyRange.count, d, floats[2])
            block.scores.n = keyRange.count
            block.scores.bias = bias.map { $0 + head * count * keyCount + first }
            block.first = first == 0 ? 1 : 0
            if block.first == 1 && head + 1 < geometry.heads {
              // What the next head gathers lies in this one's neighbourhood, but no prefetcher finds it.
              block.soon.0 = braid_attention_soon(
                base: queries.base + start + d, offsets: offsets[0], n: count, d: d)
              block.soon.1 = braid_attention_soon(
                base: keys.base + start + d, offsets: offsets[1], n: keyCount, d: d)
              block.soon.2 = braid_attention_soon(
                base: values.base + start + d, offsets: offsets[2], n: keyCount, d: d)
            } else {
              block.soon = (.init(), .init(), .init())
            }
            kernels.forward(&block)
          }
          kernels.finish(
            floats[5], floats[3], floats[4], count, d, output + start, offsets[3],
            lse.map { $0 + (head * geometry.windows + window) * count })
        }
      }
    }
  }

  /// The distance of the rows of transposed queries: an odd number of cache lines.
  static func queryStride(_ rows: Int) -> Int { ((rows + 15) / 16 | 1) * 16 }

  /// `n` rounded up to a multiple of `panel`.
  static func padded(_ n: Int, _ panel: Int) -> Int { (n + panel - 1) / panel * panel }

  /// Calls `body` with scratch runs of the given lengths, aligned for vectors.
  static func withWorkspace(
    floats: [Int], offsets: [Int] = [],
    _ body: ([UnsafeMutablePointer<Float>], [UnsafeMutablePointer<Int>]) -> Void
  ) {
    let sizes = floats.map { padded($0 * 4, 64) } + offsets.map { padded($0 * 8, 64) }
    let total = sizes.reduce(0, +)
    let memory = Memory.allocate(total)
    defer { Memory.deallocate(memory, total) }
    var next = memory
    var runs: [UnsafeMutableRawPointer] = []
    for size in sizes {
      runs.append(next)
      next += size
    }
    body(
      runs[..<floats.count].map { $0.assumingMemoryBound(to: Float.self) },
      runs[floats.count...].map { $0.assumingMemoryBound(to: Int.self) })
  }
}
