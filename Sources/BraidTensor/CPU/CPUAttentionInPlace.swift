import CBraidKernels
import Foundation

// Attention that reads keys and values where they lie: for single positions, whose keys would be packed for nothing,
// and for queries that each visit keys of their own.

extension CPU {
  /// Attention of the last position to spans of keys, rising; the other parameters as in `attention`.
  ///
  /// Work is cut by keys, so that memory is read in order, into pieces that do not depend on the number of threads.
  static func attentionOfOne(
    _ shape: AttentionShape, to spans: [Range<Int>], queries: HeadRows, keys: HeadRows, values: HeadRows,
    bias: AttentionBias?, sinks: UnsafePointer<Float>?, output: UnsafeMutablePointer<Float>,
    lse: UnsafeMutablePointer<Float>?, kernels table: braid_kernels
  ) {
    let kernels = table.attention
    let (d, dv, heads) = (shape.width, shape.valueWidth, shape.heads)
    let width = padded(dv, kernels.panel)
    // Keys whose rows stay in the first caches while the query heads pass.
    let step = Swift.min(128, Swift.max(16, 8192 / d / 16 * 16))
    let blocks = spans.flatMap { span in
      stride(from: span.lowerBound, to: span.upperBound, by: step).map {
        $0..<Swift.min(span.upperBound, $0 + step)
      }
    }
    let count = spans.reduce(0) { $0 + $1.count }
    let splits = shape.batch >= 8 ? 1 : Swift.max(1, Swift.min(8, blocks.count, count / 512))
    let floats = heads * (width + 2)
    let memory = Memory.allocate(shape.batch * splits * floats * 4)
    defer { Memory.deallocate(memory, shape.batch * splits * floats * 4) }
    let partial = memory.assumingMemoryBound(to: Float.self)

    parallelFor(shape.batch * splits) { task in
      let (image, split) = task.quotientAndRemainder(dividingBy: splits)
      let (maximum, total) = (partial + task * floats, partial + task * floats + heads)
      let sum = total + heads
      withWorkspace(floats: [heads * d, shape.group * Int(BRAID_ATTENTION_KEYS)]) { floats, _ in
        for head in 0..<heads {
          table.math.unary(
            BRAID_UNARY_AFFINE, queries.start(image, head), floats[0] + head * d, d, shape.scale * log2OfE, 0)
          let sink = split == 0 ? sinks?[head] : nil
          maximum[head] = sink.map { $0 * log2OfE } ?? -.infinity
          total[head] = sink == nil ? 0 : 1
        }
        sum.update(repeating: 0, count: heads * width)
        var few = braid_attention_few()
        few.rows = shape.group
        few.d = d
        few.dv = dv
        few.key_stride = keys.lengthStride
        few.value_stride = values.lengthStride
        few.bias_stride = bias?.headStride ?? 0
        few.bias_scale = log2OfE
        few.cap = shape.softCap * log2OfE
        few.scratch = floats[1]
        for block in blocks[blocks.count * split / splits..<blocks.count * (split + 1) / splits] {
          few.n = block.count
          for keyHead in 0..<shape.keyHeads {
            let head = keyHead * shape.group
            few.queries = UnsafePointer(floats[0] + head * d)
            few.keys = keys.start(image, keyHead) + block.lowerBound * keys.lengthStride
            few.values = values.start(image, keyHead) + block.lowerBound * values.lengthStride
            few.bias = bias.map {
              $0.base + image * $0.batchStride + head * $0.headStride + block.lowerBound
            }
            few.maximum = maximum + head
            few.total = total + head
            few.output = sum + head * width
            kernels.forward_few(&few)
          }
        }
      }
    }
    let offsets = (0..<heads).map { $0 * dv }
    for image in 0..<shape.batch {
      let first = partial + image * splits * floats
      for split in 1..<Swift.max(1, splits) {
        mergeAttention(first, first + split * floats, heads: heads, width: width, axpy: table.math.axpy)
      }
      kernels.finish(
        first + 2 * heads, first, first + heads, heads, dv, output + image * heads * dv, offsets,
        lse.map { $0 + image * heads })
    }
  }

  /// Adds the running softmax of some keys to that of others: maxima [heads], totals [heads], outputs [heads][width].
  private static func mergeAttention(
    _ into: UnsafeMutablePointer<Float>, _ other: UnsafeMutablePointer<Float>, heads: Int, width: Int,
    axpy: (Float, UnsafePointer<Float>?, UnsafeMutablePointer<Float>?, Int) -> Void
  ) {
    for head in 0..<heads where other[heads + head] > 0 {
      let most = Swift.max(into[head], other[head])
      let (a, b) = (exp2(into[head] - most), exp2(other[head] - most))
      let (x, y) = (into + 2 * heads + head * width, other + 2 * heads + head * width)
      into[head] = most
      into[heads + head] = a * into[heads + head] + b * other[heads + head]
      if a != 1 { for i in 0..<width { x[i] *= a } }
      axpy(b, y, x, width)
    }
  }

  /// Attention of every query to the blocks that a list of its own names.
  static func attentionToLists(
    _ shape: AttentionShape, _ selected: SelectedBlocks, queries: HeadRows, keys: HeadRows, values: HeadRows,
    bias: ListBias?, sinks: UnsafePointer<Float>?, output: UnsafeMutablePointer<Float>,
    lse: UnsafeMutablePointer<Float>?,
    kernels table: braid_kernels
  ) {
    let kernels = table.attention
    let (d, dv) = (shape.width, shape.valueWidth)
    let width = padded(dv, kernels.panel)
    // Heads that share keys and a list are taken together.
    let rows = selected.heads > shape.keyHeads ? 1 : shape.group
    let units = shape.heads / rows
    let most = Int(BRAID_ATTENTION_KEYS)
    parallelRanges(shape.batch * shape.queries * units, minimum: 1) { range in
      withWorkspace(
        floats: [rows * d, rows, rows, rows * width, rows * most, rows, most, bias == nil ? 0 : rows * most],
        offsets: [rows]
      ) { floats, offsets in
        let positions = UnsafeMutableRawPointer(floats[6]).assumingMemoryBound(to: Int32.self)
        for r in 0..<rows { offsets[0][r] = r * dv }
        var few = braid_attention_few()
        few.rows = rows
        few.d = d
        few.dv = dv
        few.queries = UnsafePointer(floats[0])
        few.key_stride = keys.lengthStride
        few.value_stride = values.lengthStride
        few.cap = shape.softCap * log2OfE
        few.maximum = floats[1]
        few.total = floats[2]
        few.output = floats[3]
        few.scratch = floats[4]
        few.positions = UnsafePointer(positions)
        few.bias = bias == nil ? nil : UnsafePointer(floats[7])
        few.bias_stride = most
        few.bias_scale = log2OfE
        for task in range {
          let (place, unit) = task.quotientAndRemainder(dividingBy: units)
          let (image, query) = place.quotientAndRemainder(dividingBy: shape.queries)
          let head = unit * rows
          for r in 0..<rows {
            table.math.unary(
              BRAID_UNARY_AFFINE, queries.start(image, head + r) + query * queries.lengthStride,
              floats[0] + r * d, d, shape.scale * log2OfE, 0)
            floats[1][r] = sinks.map { $0[head + r] * log2OfE } ?? -.infinity
            floats[2][r] = sinks == nil ? 0 : 1
          }
          floats[3].update(repeating: 0, count: rows * width)
          few.keys = keys.start(image, head / shape.group)
          few.values = values.start(image, head / shape.group)
          few.n = 0
          let list = selected.list(image, query, head: head, of: shape.heads)
          forEachKey(of: query, shape, list, selected) { j, place in
            positions[few.n] = Int32(truncatingIfNeeded: j)
            if let bias {
              let entry = Int(bias.index[query * selected.kept + place])
              for r in 0..<rows {
                floats[7][r * most + few.n] = bias.table[(head + r) * bias.entries + entry]
              }
            }
            few.n += 1
            if few.n == most {
              kernels.forward_few(&few)
              few.n = 0
            }
          }
          if few.n > 0 { kernels.forward_few(&few) }
          kernels.finish(
            floats[3], floats[1], floats[2], rows, dv,
            output + (place * shape.heads + head) * dv, offsets[0], lse == nil ? nil : floats[5])
          if let lse {
            for r in 0..<rows {
              lse[(image * shape.heads + head + r) * shape.queries + query] = floats[5][r]
            }
          }
        }
      }
    }
  }

  /// Calls `body` with the keys of the listed blocks that a query sees, and their block's place in the list.
  @inline(__always)
  private static func forEachKey(
    of query: Int, _ shape: AttentionShape, _ list: UnsafeBufferPointer<Int32>, _ selected: SelectedBlocks,
    _ body: (_ key: Int, _ place: Int) -> Void
  ) {
    let end = shape.causal ? Swift.min(shape.keys, query + shape.above + 1) : shape.keys
    for place in 0..<list.count where list[place] >= 0 {
      let first = Int(list[place]) * selected.keys
      for j in first..<Swift.max(first, Swift.min(end, first + selected.keys)) { body(j, place) }
    }
  }

  /// The gradients of `attentionToLists`, added to dq, dk and dv (contiguous [batch, length, heads, width]) and to
  /// dbias [batch, heads, entries].
  static func attentionToListsGradient(
    _ shape: AttentionShape, _ selected: SelectedBlocks, queries: HeadRows, keys: HeadRows, values: HeadRows,
    bias: ListBias?, output: UnsafePointer<Float>, lse: UnsafePointer<Float>, gradient: UnsafePointer<Float>,
    dq: UnsafeMutablePointer<Float>, dk: UnsafeMutablePointer<Float>, dv: UnsafeMutablePointer<Float>,
    dbias: UnsafeMutablePointer<Float>?, kernels table: braid_kernels
  ) {
    let (d, valueWidth) = (shape.width, shape.valueWidth)
    let axpy = table.math.axpy!
    parallelFor(shape.batch * shape.keyHeads) { task in
      let (image, keyHead) = task.quotientAndRemainder(dividingBy: shape.keyHeads)
      for query in 0..<shape.queries {
        for head in keyHead * shape.group..<(keyHead + 1) * shape.group {
          let row = (image * shape.queries + query) * shape.heads + head
          let (g, y) = (gradient + row * valueWidth, output + row * valueWidth)
          let q = queries.start(image, head) + query * queries.lengthStride
          let delta = dot(g, y, valueWidth)
          let total = lse[(image * shape.heads + head) * shape.queries + query]
          if total == -.infinity { continue }
          let list = selected.list(image, query, head: head, of: shape.heads)
          forEachKey(of: query, shape, list, selected) { j, place in
            let k = keys.start(image, keyHead) + j * keys.lengthStride
            let v = values.start(image, keyHead) + j * values.lengthStride
            var (score, slope) = (shape.scale * dot(q, k, d), Float(1))
            if shape.softCap > 0 {
              let t = tanh(score / shape.softCap)
              (score, slope) = (shape.softCap * t, 1 - t * t)
            }
            let entry = bias.map { head * $0.entries + Int($0.index[query * selected.kept + place]) }
            if let bias { score += bias.table[entry!] }
            let p = exp2(score * log2OfE - total)
            let change = p * (dot(g, v, valueWidth) - delta)
            if let dbias { dbias[image * shape.heads * bias!.entries + entry!] += change }
            let ds = change * slope * shape.scale
            let at = (image * shape.keys + j) * shape.keyHeads + keyHead
            axpy(ds, k, dq + row * d, d)
            axpy(ds, q, dk + at * d, d)
            axpy(p, g, dv + at * valueWidth, valueWidth)
          }
        }
      }
    }
  }

  private static func dot(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ count: Int) -> Float {
    var sums = SIMD8<Float>.zero
    var i = 0
    while i + 8 <= count {
      let x = UnsafeRawPointer(a + i).loadUnaligned(as: SIMD8<Float>.self)
      sums += x * UnsafeRawPointer(b + i).loadUnaligned(as: SIMD8<Float>.self)
      i += 8
    }
    var sum = sums.sum()
    while i < count {
      sum += a[i] * b[i]
      i += 1
    }
    return sum
  }
}
