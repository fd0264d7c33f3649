import CBraidKernels

/// What a block-wise attention gradient of one head works on, and where it adds.
struct AttentionGradientOperands {
  var queries, keys, values, output, gradient: UnsafePointer<Float>
  var dq, dk, dv: UnsafeMutablePointer<Float>
}

/// Scratch of one task of the attention gradient.
///
/// Key blocks are packed once and kept while the query blocks pass: transposed and row panels of keys, transposed
/// panels of values, gradients of both.
struct AttentionGradientWorkspace {
  /// Query rows of a block.
  static let rows = 4 * Int(BRAID_ATTENTION_ROWS)

  let kernels: braid_attention_kernels
  let blocks: [Range<Int>]
  let d, dv, width, valueWidth: Int
  let floats: [UnsafeMutablePointer<Float>]
  /// Where each key block starts in the padded runs, in keys.
  private let starts: [Int]

  static func lengths(_ kernels: braid_attention_kernels, blocks: [Range<Int>], d: Int, dv: Int) -> [Int] {
    let panel = kernels.panel
    let spaced = blocks.reduce(0) { $0 + CPU.padded($1.count, panel) }
    let keys = blocks.reduce(0) { $0 + $1.count }
    let (width, valueWidth) = (CPU.padded(d, panel), CPU.padded(dv, panel))
    return [
      spaced * d, keys * width, spaced * dv,  // keys transposed, keys, values transposed
      keys * width, keys * valueWidth,  // gradients of keys and values
      rows * d, rows * width, rows * dv, rows * valueWidth,  // queries and output gradients, both ways
      rows, rows * width,  // delta, gradient of queries
      3 * rows * Int(BRAID_ATTENTION_KEYS),
    ]
  }

  init(
    _ kernels: braid_attention_kernels, blocks: [Range<Int>], d: Int, dv: Int,
    _ floats: [UnsafeMutablePointer<Float>]
  ) {
    self.kernels = kernels
    self.blocks = blocks
    self.d = d
    self.dv = dv
    width = CPU.padded(d, kernels.panel)
    valueWidth = CPU.padded(dv, kernels.panel)
    self.floats = floats
    var next = 0
    starts = blocks.map { block in
      defer { next += CPU.padded(block.count, kernels.panel) }
      return next
    }
  }

  /// Packs keys and values, and clears their gradients.
  func begin(
    keys: UnsafePointer<Float>, _ keyOffsets: UnsafePointer<Int>, values: UnsafePointer<Float>,
    _ valueOffsets: UnsafePointer<Int>, scale: Float
  ) {
    for (index, range) in blocks.enumerated() {
      let (at, first, n) = (starts[index], range.lowerBound, range.count)
      kernels.pack_transposed(keys, keyOffsets + first, n, d, scale * CPU.log2OfE, floats[0] + at * d)
      kernels.pack_rows(keys, keyOffsets + first, n, d, floats[1] + first * width)
      kernels.pack_transposed(values, valueOffsets + first, n, dv, 1, floats[2] + at * dv)
    }
    let count = blocks.last!.upperBound
    floats[3].update(repeating: 0, count: count * width)
    floats[4].update(repeating: 0, count: count * valueWidth)
  }

  /// Adds what a run of queries contributes; `scores` holds bias and masks of the run and the whole of the keys.
  ///
  /// - Parameters:
  ///   - visits: the key blocks that the run visits, all of them where nil; `count` is one block of rows then.
  ///   - limits: sets the limits of a visit.
  func add(
    _ operands: AttentionGradientOperands, queryOffsets: UnsafePointer<Int>,
    outputOffsets: UnsafePointer<Int>,
    dqOffsets: UnsafePointer<Int>, count: Int, scores: braid_attention_scores,
    visits: [AttentionPlan.Visit]? = nil,
    limits: (inout braid_attention_scores, AttentionPlan.Visit) -> Void = { _, _ in }, scale: Float,
    lse: UnsafePointer<Float>, dbias: UnsafeMutablePointer<Float>?, dbiasStride: Int
  ) {
    precondition(visits == nil || count <= Self.rows)
    for from in stride(from: 0, to: count, by: Self.rows) {
      let rows = Swift.min(Self.rows, count - from)
      kernels.transpose(operands.queries, queryOffsets + from, rows, d, 1, floats[5], rows)
      kernels.pack_rows(operands.queries, queryOffsets + from, rows, d, floats[6])
      kernels.transpose(operands.gradient, outputOffsets + from, rows, dv, 1, floats[7], rows)
      kernels.pack_rows(operands.gradient, outputOffsets + from, rows, dv, floats[8])
      kernels.row_dot(operands.output, operands.gradient, outputOffsets + from, rows, dv, floats[9])
      floats[10].update(repeating: 0, count: rows * width)
      var block = braid_attention_backward_block()
      block.scores = scores
      block.scores.rows = rows
      block.scores.d = d
      block.scores.dv = dv
      block.scores.queries = UnsafePointer(floats[5])
      block.scores.query_row = rows
      block.scores.masks = scores.masks.map { $0 + from }
      block.query_panels = UnsafePointer(floats[6])
      block.gradient = UnsafePointer(floats[7])
      block.gradient_panels = UnsafePointer(floats[8])
      block.delta = UnsafePointer(floats[9])
      block.lse = lse + from
      block.dq = floats[10]
      block.scratch = floats[11]
      block.dbias_stride = dbiasStride
      for turn in 0..<(visits?.count ?? blocks.count) {
        let index = visits?[turn].block ?? turn
        let (at, range) = (starts[index], blocks[index])
        let first = range.lowerBound
        if let visits { limits(&block.scores, visits[turn]) }
        block.scores.n = range.count
        block.scores.keys = UnsafePointer(floats[0] + at * d)
        block.scores.bias = scores.bias.map { $0 + from * scores.bias_stride + first }
        block.key_panels = UnsafePointer(floats[1] + first * width)
        block.values = UnsafePointer(floats[2] + at * dv)
        block.dk = floats[3] + first * width
        block.dvalues = floats[4] + first * valueWidth
        block.dbias = dbias.map { $0 + from * dbiasStride + first }
        kernels.backward(&block)
      }
      kernels.scatter_add(floats[10], rows, d, scale, operands.dq, dqOffsets + from)
    }
  }

  /// Adds the gradients of keys and values to their rows.
  func end(
    _ operands: AttentionGradientOperands, keyOffsets: UnsafePointer<Int>, valueOffsets: UnsafePointer<Int>,
    scale: Float
  ) {
    let count = blocks.last!.upperBound
    kernels.scatter_add(floats[3], count, d, scale, operands.dk, keyOffsets)
    kernels.scatter_add(floats[4], count, dv, 1, operands.dv, valueOffsets)
  }
}

extension CPU {
  /// The gradients of `windowAttention`: added to dq, dk and dv (laid out as queries, keys and values), and that of
  /// the bias, [heads, queries, keys], written.
  ///
  /// Work is cut into pieces that do not depend on the number of threads, and added up in a fixed order.
  static func windowAttentionGradient(
    _ geometry: WindowGeometry, queries: PixelRows, keys: PixelRows, values: PixelRows,
    bias: UnsafePointer<Float>?, scale: Float, output: UnsafePointer<Float>, lse: UnsafePointer<Float>,
    gradient: UnsafePointer<Float>, dq: UnsafeMutablePointer<Float>, dk: UnsafeMutablePointer<Float>,
    dv: UnsafeMutablePointer<Float>, dbias: UnsafeMutablePointer<Float>?,
    kernels table: braid_kernels = kernels.pointee
  ) {
    let kernels = table.attention
    let (count, keyCount, d) = (geometry.queries, geometry.keys, geometry.headWidth)
    let seams = geometry.shiftY + geometry.shiftX > 0 ? SeamMasks(geometry) : nil
    let blocks = keyBlocks(keyCount)
    // Overlapping windows add to the same keys: one task takes all windows of an image.
    let units = geometry.overlaps ? geometry.batch : geometry.windows
    let perUnit = geometry.windows / units
    let chunks = Swift.min(units, 4)
    let biasCount = count * keyCount
    let partial = dbias == nil ? nil : Memory.allocate(geometry.heads * chunks * biasCount * 4)
    defer { partial.map { Memory.deallocate($0, geometry.heads * chunks * biasCount * 4) } }
    let partials = partial?.assumingMemoryBound(to: Float.self)

    parallelFor(geometry.heads * chunks) { task in
      let (head, chunk) = task.quotientAndRemainder(dividingBy: chunks)
      let sum = partials.map { $0 + task * biasCount }
      sum?.update(repeating: 0, count: biasCount)
      withWorkspace(
        floats: AttentionGradientWorkspace.lengths(kernels, blocks: blocks, d: d, dv: d),
        offsets: [count, keyCount, keyCount, count]
      ) { floats, offsets in
        let workspace = AttentionGradientWorkspace(kernels, blocks: blocks, d: d, dv: d, floats)
        let start = head * d
        let operands = AttentionGradientOperands(
          queries: queries.base + start, keys: keys.base + start, values: values.base + start,
          output: output + start, gradient: gradient + start, dq: dq + start, dk: dk + start, dv: dv + start)
        var scores = braid_attention_scores()
        scores.bias = bias.map { $0 + head * biasCount }
        scores.bias_stride = keyCount
        scores.bias_scale = log2OfE
        scores.below = .min
        scores.above = .max
        for window in units * chunk / chunks * perUnit..<units * (chunk + 1) / chunks * perUnit {
          geometry.queryOffsets(window, stride: queries.stride, offsets[0])
          geometry.keyOffsets(window, stride: keys.stride, offsets[1])
          geometry.keyOffsets(window, stride: values.stride, offsets[2])
          geometry.queryOffsets(window, stride: geometry.channels, offsets[3])
          scores.masks = seams?.masks(geometry.seam(window))
          workspace.begin(keys: operands.keys, offsets[1], values: operands.values, offsets[2], scale: scale)
          workspace.add(
            operands, queryOffsets: offsets[0], outputOffsets: offsets[3], dqOffsets: offsets[0],
            count: count,
            scores: scores, scale: scale, lse: lse + (head * geometry.windows + window) * count, dbias: sum,
            dbiasStride: keyCount)
          workspace.end(operands, keyOffsets: offsets[1], valueOffsets: offsets[2], scale: scale)
        }
      }
    }
    guard let dbias, let partials else { return }
    let math = table.math
    parallelFor(geometry.heads) { head in
      let sum = dbias + head * biasCount
      sum.update(from: partials + head * chunks * biasCount, count: biasCount)
      for chunk in 1..<Swift.max(1, chunks) {
        math.axpy(1, partials + (head * chunks + chunk) * biasCount, sum, biasCount)
      }
    }
  }
}
