import CBraidKernels

/// Rows [batch, length, heads, width] anywhere in memory, neighbours along the last axis.
struct HeadRows: @unchecked Sendable {
  var base: UnsafePointer<Float>
  var batchStride, lengthStride, headStride: Int

  /// The rows of a float32 tensor whose last axis is dense.
  init(_ tensor: Tensor) {
    base = UnsafePointer(tensor.mutablePointer)
    batchStride = tensor.strides[0]
    lengthStride = tensor.strides[1]
    headStride = tensor.strides[2]
  }

  func start(_ batch: Int, _ head: Int) -> UnsafePointer<Float> {
    base + batch * batchStride + head * headStride
  }
}

/// The problem that an attention call solves.
struct AttentionShape: Sendable {
  var batch, queries, keys, heads, keyHeads, width, valueWidth: Int
  var scale: Float
  /// Query i sees key j where j <= i + keys - queries.
  var causal: Bool
  /// Query i sees key j where j > i + keys - queries - window, or j < always.
  var window: Int?
  var always = 0
  /// Scores s become cap tanh(s / cap); 0 for none.
  var softCap: Float = 0
  var pattern = AttentionPattern.dense

  /// Queries that share a key head.
  var group: Int { heads / keyHeads }
  /// Bounds of j - i; see `braid_attention_scores`.
  var above: Int { causal ? keys - queries : .max }
  var below: Int { window.map { keys - queries - $0 + 1 } ?? .min }

  /// The keys that a single query sees, where a rule says so.
  var spansOfOne: [Range<Int>]? {
    let start = Swift.max(0, keys - (window ?? keys))
    let first = Swift.min(always, start)
    switch pattern {
    case .selected: return nil
    case .dense: return [0..<first, start..<keys].filter { !$0.isEmpty }
    case .strided(let block, let stride):
      var spans: [Range<Int>] = []
      func add(_ span: Range<Int>) {
        if span.isEmpty { return }
        if let last = spans.last, last.upperBound >= span.lowerBound {
          spans[spans.count - 1] = last.lowerBound..<Swift.max(last.upperBound, span.upperBound)
        } else {
          spans.append(span)
        }
      }
      let own = (keys - 1) / block
      for index in 0..<Swift.max(0, keys > 0 ? own + 1 : 0) {
        let range = index * block..<Swift.min(keys, (index + 1) * block)
        if (own - index) % stride == 0 {
          add(range)
        } else {
          add(range.clamped(to: 0..<first))
          add(range.clamped(to: start..<keys))
        }
      }
      return spans
    }
  }
}

/// A bias that is added to the scores: a view of [batch, heads, queries, keys] with dense or no rows.
struct AttentionBias: @unchecked Sendable {
  var base: UnsafePointer<Float>
  var batchStride, headStride, rowStride: Int
}

extension CPU {
  /// Query rows of one task.
  private static let queryRows = 8 * Int(BRAID_ATTENTION_ROWS)

  /// Softmax attention, blocked over keys: memory grows with length, not with its square.
  ///
  /// - Parameters:
  ///   - output: [batch, queries, heads, valueWidth].
  ///   - listBias: of the keys that lists name; the bias is for the dense form.
  ///   - sinks: [heads], scores that take part in the softmax and have no value; or nil.
  ///   - lse: [batch, heads, queries], what the gradient recomputes the probabilities from.
  static func attention(
    _ shape: AttentionShape, queries: HeadRows, keys: HeadRows, values: HeadRows, bias: AttentionBias?,
    listBias: ListBias? = nil, sinks: UnsafePointer<Float>? = nil, output: UnsafeMutablePointer<Float>,
    lse: UnsafeMutablePointer<Float>?,
    kernels table: braid_kernels = kernels.pointee
  ) {
    let kernels = table.attention
    if case .selected(let selected) = shape.pattern, selected.queries == 1 {
      return attentionToLists(
        shape, selected, queries: queries, keys: keys, values: values, bias: listBias, sinks: sinks,
        output: output, lse: lse, kernels: table)
    }
    if shape.queries == 1, let spans = shape.spansOfOne {
      return attentionOfOne(
        shape, to: spans, queries: queries, keys: keys, values: values, bias: bias, sinks: sinks,
        output: output, lse: lse, kernels: table)
    }
    if shape.isNarrow && bias == nil && sinks == nil {
      return narrowAttention(
        shape, queries: queries, keys: keys, values: values, output: output, lse: lse, kernels: kernels)
    }
    let plan = AttentionPlan(shape, rows: queryRows)
    let (panel, step, blocks) = (kernels.panel, plan.step, plan.blocks)
    let (d, dv) = (shape.width, shape.valueWidth)
    let width = padded(dv, panel)
    let blockFloats = padded(step, panel) * d + step * width
    let packedFloats = Swift.max(1, shape.batch * shape.keyHeads * blocks * blockFloats)
    let packedMemory = Memory.allocate(packedFloats * 4)
    defer { Memory.deallocate(packedMemory, packedFloats * 4) }
    let packed = packedMemory.assumingMemoryBound(to: Float.self)
    let scale = shape.scale * log2OfE

    parallelFor(shape.batch * shape.keyHeads * blocks) { task in
      let (pair, block) = task.quotientAndRemainder(dividingBy: blocks)
      let (image, head) = pair.quotientAndRemainder(dividingBy: shape.keyHeads)
      let range = plan.keys(block)
      let n = range.count
      withUnsafeTemporaryAllocation(of: Int.self, capacity: n) { offsets in
        let offsets = offsets.baseAddress!
        let out = packed + task * blockFloats
        for j in 0..<n { offsets[j] = (range.lowerBound + j) * keys.lengthStride }
        kernels.pack_transposed(keys.start(image, head), offsets, n, d, scale, out)
        for j in 0..<n { offsets[j] = (range.lowerBound + j) * values.lengthStride }
        kernels.pack_rows(values.start(image, head), offsets, n, dv, out + padded(step, panel) * d)
      }
    }

    parallelFor(shape.batch * shape.heads * plan.parts.count) { task in
      let (pair, index) = task.quotientAndRemainder(dividingBy: plan.parts.count)
      let (image, head) = pair.quotientAndRemainder(dividingBy: shape.heads)
      let part = plan.parts[index]
      let (from, rows) = (part.lowerBound, part.count)
      withWorkspace(
        floats: [
          queryStride(rows) * d, rows, rows, rows * width, Int(BRAID_ATTENTION_ROWS * BRAID_ATTENTION_KEYS),
        ],
        offsets: [rows]
      ) { floats, offsets in
        var block = braid_attention_block()
        block.scores.rows = rows
        block.scores.d = d
        block.scores.dv = dv
        block.scores.queries = UnsafePointer(floats[0])
        block.scores.query_row = queryStride(rows)
        block.scores.bias_scale = log2OfE
        block.maximum = floats[1]
        block.total = floats[2]
        block.output = floats[3]
        block.scratch = floats[4]
        for i in 0..<rows { offsets[0][i] = (from + i) * queries.lengthStride }
        kernels.transpose(queries.start(image, head), offsets[0], rows, d, 1, floats[0], queryStride(rows))
        // A sink is a key that has been seen already.
        floats[1].update(repeating: sinks.map { $0[head] * log2OfE } ?? -.infinity, count: rows)
        floats[2].update(repeating: sinks == nil ? 0 : 1, count: rows)
        floats[3].update(repeating: 0, count: rows * width)
        block.scores.cap = shape.softCap * log2OfE
        block.first = sinks == nil ? 1 : 0
        for visit in plan.visits(image, head: head, part) {
          let operands =
            packed + ((image * shape.keyHeads + head / shape.group) * blocks + visit.block) * blockFloats
          plan.limits(&block.scores, row: from, visit)
          block.scores.n = plan.keys(visit.block).count
          block.scores.keys = UnsafePointer(operands)
          block.values = UnsafePointer(operands + padded(step, panel) * d)
          if let bias {
            block.scores.bias =
              bias.base + image * bias.batchStride + head * bias.headStride + from * bias.rowStride
              + visit.block * step
            block.scores.bias_stride = bias.rowStride
          }
          kernels.forward(&block)
          block.first = 0
        }
        let stride = shape.heads * dv
        for i in 0..<rows { offsets[0][i] = (from + i) * stride }
        kernels.finish(
          floats[3], floats[1], floats[2], rows, dv, output + image * shape.queries * stride + head * dv,
          offsets[0], lse.map { $0 + (image * shape.heads + head) * shape.queries + from })
      }
    }
  }

  /// The gradients of `attention`: added to dq, dk and dv (contiguous [batch, length, heads, width]) and to dbias
  /// (contiguous [batch, heads, queries, keys]).
  static func attentionGradient(
    _ shape: AttentionShape, queries: HeadRows, keys: HeadRows, values: HeadRows, bias: AttentionBias?,
    output: UnsafePointer<Float>, lse: UnsafePointer<Float>, gradient: UnsafePointer<Float>,
    dq: UnsafeMutablePointer<Float>, dk: UnsafeMutablePointer<Float>, dv: UnsafeMutablePointer<Float>,
    dbias: UnsafeMutablePointer<Float>?, listBias: ListBias? = nil,
    dlistBias: UnsafeMutablePointer<Float>? = nil, kernels table: braid_kernels = kernels.pointee
  ) {
    guard shape.keys > 0, shape.queries > 0 else { return }
    let kernels = table.attention
    let (d, valueWidth) = (shape.width, shape.valueWidth)
    if case .selected(let selected) = shape.pattern, selected.queries == 1 {
      return attentionToListsGradient(
        shape, selected, queries: queries, keys: keys, values: values, bias: listBias, output: output,
        lse: lse,
        gradient: gradient, dq: dq, dk: dk, dv: dv, dbias: dlistBias, kernels: table)
    }
    let plan = AttentionPlan(shape, rows: AttentionGradientWorkspace.rows)
    let blocks = (0..<plan.blocks).map(plan.keys)
    parallelFor(shape.batch * shape.keyHeads) { task in
      let (image, keyHead) = task.quotientAndRemainder(dividingBy: shape.keyHeads)
      withWorkspace(
        floats: AttentionGradientWorkspace.lengths(kernels, blocks: blocks, d: d, dv: valueWidth),
        offsets: [shape.keys, shape.keys, shape.queries, shape.queries, shape.queries]
      ) { floats, offsets in
        func fill(_ index: Int, _ count: Int, _ stride: Int) -> UnsafePointer<Int> {
          for i in 0..<count { offsets[index][i] = i * stride }
          return UnsafePointer(offsets[index])
        }
        let workspace = AttentionGradientWorkspace(kernels, blocks: blocks, d: d, dv: valueWidth, floats)
        workspace.begin(
          keys: keys.start(image, keyHead), fill(0, shape.keys, keys.lengthStride),
          values: values.start(image, keyHead), fill(1, shape.keys, values.lengthStride), scale: shape.scale)
        let queryOffsets = fill(2, shape.queries, queries.lengthStride)
        let outputOffsets = fill(3, shape.queries, shape.heads * valueWidth)
        let dqOffsets = fill(4, shape.queries, shape.heads * d)
        var operands = AttentionGradientOperands(
          queries: queries.base, keys: keys.start(image, keyHead), values: values.start(image, keyHead),
          output: output, gradient: gradient, dq: dq,
          dk: dk + (image * shape.keys * shape.keyHeads + keyHead) * d,
          dv: dv + (image * shape.keys * shape.keyHeads + keyHead) * valueWidth)
        for head in keyHead * shape.group..<(keyHead + 1) * shape.group {
          operands.queries = queries.start(image, head)
          let at = image * shape.queries * shape.heads + head
          operands.output = output + at * valueWidth
          operands.gradient = gradient + at * valueWidth
          operands.dq = dq + at * d
          var scores = braid_attention_scores()
          scores.bias_stride = bias?.rowStride ?? 0
          scores.bias_scale = log2OfE
          scores.cap = shape.softCap * log2OfE
          let pair = image * shape.heads + head
          for part in plan.parts {
            let first = part.lowerBound
            scores.bias = bias.map {
              $0.base + image * $0.batchStride + head * $0.headStride + first * $0.rowStride
            }
            workspace.add(
              operands, queryOffsets: queryOffsets + first, outputOffsets: outputOffsets + first,
              dqOffsets: dqOffsets + first, count: part.count, scores: scores,
              visits: plan.visits(image, head: head, part),
              limits: { plan.limits(&$0, row: first, $1) }, scale: shape.scale,
              lse: lse + pair * shape.queries + first,
              dbias: dbias.map { $0 + (pair * shape.queries + first) * shape.keys }, dbiasStride: shape.keys)
          }
        }
        workspace.end(
          operands, keyOffsets: fill(0, shape.keys, shape.keyHeads * d),
          valueOffsets: fill(1, shape.keys, shape.keyHeads * valueWidth), scale: shape.scale)
      }
    }
  }
}
