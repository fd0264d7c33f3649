import CBraidKernels

/// Linear attention with decay, as the op file calls it.
struct DecayedAttentionLayout {
  enum Decay {
    /// exp(g) = 1.
    case none
    /// g of [heads].
    case fixed
    /// g of [batch, length, heads].
    case perToken
    /// g of [batch, length, heads, keys].
    case perChannel
  }

  var batch, length, heads: Int
  /// Heads that have rows of q and k; heads / groups neighbouring heads share them.
  var groups: Int
  var keys, values: Int
  var decay: Decay
  var scale: Float
  /// Whether the first state is zero (then its memory is not read).
  var isFresh: Bool

  /// Tokens that are computed at once, and between states that are saved.
  var chunk = Int(BRAID_RECURRENCE_CHUNK)
  var chunks: Int { (length + chunk - 1) / chunk }
  var headsPerGroup: Int { heads / groups }
  var stateCount: Int { batch * heads * keys * values }

  /// Heads of a task. They share the products of q and k; their number is bounded by the states that fit a cache.
  var headsPerTask: Int {
    let most = Swift.max(1, Swift.min(6, 160_000 / (keys * values)))
    let ranges = (headsPerGroup + most - 1) / most
    let wanted = (ThreadPool.threads + batch * groups - 1) / (batch * groups)
    let count = Swift.min(headsPerGroup, Swift.max(ranges, wanted))
    return (headsPerGroup + count - 1) / count
  }
  var headRanges: Int { (headsPerGroup + headsPerTask - 1) / headsPerTask }
  /// Values of a task: split where there are fewer heads than threads.
  var valuesPerTask: Int {
    let wanted = ThreadPool.threads / (batch * heads)
    let parts = Swift.max(1, Swift.min(wanted, values / 16))
    return ((values + parts - 1) / parts + 15) / 16 * 16
  }
  var valueRanges: Int { (values + valuesPerTask - 1) / valuesPerTask }
  var tasks: Int { batch * groups * headRanges * valueRanges }
  /// Tasks that contribute to the same rows of q and k.
  var parts: Int { headRanges * valueRanges }
}

/// Rows of [batch, length, heads, width] float32 numbers, each without gaps.
struct DecayedRows {
  var pointer: UnsafePointer<Float>
  var batch, token, head: Int
  func row(_ b: Int, _ t: Int, _ h: Int) -> UnsafePointer<Float> {
    pointer + b * batch + t * token + h * head
  }
}

/// Arrays of a decayed attention: q and k have `groups` heads; the decay's rows lie as its kind says.
struct DecayedAttentionInputs {
  var q, k, v: DecayedRows
  var decay: DecayedRows?
}

extension CPU {
  /// One task's place.
  struct DecayedTask {
    var batch, group, part: Int
    var heads: Range<Int>
    var values: Range<Int>

    init(_ layout: DecayedAttentionLayout, _ index: Int) {
      let (place, part) = index.quotientAndRemainder(dividingBy: layout.parts)
      let (headRange, valueRange) = part.quotientAndRemainder(dividingBy: layout.valueRanges)
      (batch, group) = place.quotientAndRemainder(dividingBy: layout.groups)
      self.part = part
      let first = headRange * layout.headsPerTask
      let end = Swift.min(layout.headsPerGroup, first + layout.headsPerTask)
      heads = group * layout.headsPerGroup + first..<group * layout.headsPerGroup + end
      let value = valueRange * layout.valuesPerTask
      values = value..<Swift.min(layout.values, value + layout.valuesPerTask)
    }
  }

  /// A chunk's rows of one head without gaps: where they lie, or copied to `buffer`.
  private static func dense(
    _ rows: DecayedRows, _ batch: Int, _ tokens: Range<Int>, _ head: Int, _ width: Int,
    _ buffer: UnsafeMutablePointer<Float>
  ) -> UnsafePointer<Float> {
    let first = rows.row(batch, tokens.lowerBound, head)
    if rows.token == width { return first }
    for t in 0..<tokens.count {
      (buffer + t * width).update(from: first + t * rows.token, count: width)
    }
    return UnsafePointer(buffer)
  }

  /// The kernel's view of a chunk, but for what belongs to one head. `qRows` and `kRows` take copies of rows with gaps.
  private static func chunkKernel(
    _ layout: DecayedAttentionLayout, _ inputs: DecayedAttentionInputs, _ task: DecayedTask,
    _ tokens: Range<Int>, qRows: UnsafeMutablePointer<Float>, kRows: UnsafeMutablePointer<Float>
  ) -> braid_recurrence_chunk {
    var kernel = braid_recurrence_chunk()
    kernel.length = tokens.count
    kernel.keys = layout.keys
    kernel.values = task.values.count
    kernel.q = dense(inputs.q, task.batch, tokens, task.group, layout.keys, qRows)
    kernel.k = dense(inputs.k, task.batch, tokens, task.group, layout.keys, kRows)
    kernel.v_row = inputs.v.token
    kernel.decay_row = inputs.decay?.token ?? 0
    kernel.scale = layout.scale
    kernel.state_row = layout.values
    kernel.is_fresh = layout.isFresh && tokens.lowerBound == 0 ? 1 : 0
    return kernel
  }

  /// Points the kernel at a head's values and decay.
  private static func turn(
    _ kernel: inout braid_recurrence_chunk, to head: Int, _ inputs: DecayedAttentionInputs,
    _ task: DecayedTask, _ tokens: Range<Int>
  ) {
    kernel.v = inputs.v.row(task.batch, tokens.lowerBound, head) + task.values.lowerBound
    kernel.decay = inputs.decay.map { $0.row(task.batch, tokens.lowerBound, head) }
  }

  /// The inputs of a chunk, to be fetched while the one before it in time is computed; a task's first head brings q and k.
  private static func rowsAhead(
    _ layout: DecayedAttentionLayout, _ inputs: DecayedAttentionInputs, _ task: DecayedTask,
    _ tokens: Range<Int>, _ head: Int
  ) -> braid_block_ahead {
    var ahead = braid_block_ahead()
    ahead.rows = tokens.count
    ahead.at_once = task.values.count >= 128 ? 1 : 2
    let first = tokens.lowerBound
    braid_block_ahead_add(
      &ahead, inputs.v.row(task.batch, first, head) + task.values.lowerBound, inputs.v.token,
      task.values.count)
    if head == task.heads.lowerBound {
      for rows in [inputs.q, inputs.k] {
        braid_block_ahead_add(&ahead, rows.row(task.batch, first, task.group), rows.token, layout.keys)
      }
    }
    return ahead
  }

  /// o [batch, length, heads, values], and in `state` [batch, heads, keys, values] the final state for the first.
  ///
  /// - Parameter saved: nil, or [batch, heads, chunks, keys, values] for the states before each chunk.
  static func decayedAttention(
    _ layout: DecayedAttentionLayout, _ inputs: DecayedAttentionInputs, state: UnsafeMutablePointer<Float>,
    saved: UnsafeMutablePointer<Float>?, o: UnsafeMutablePointer<Float>,
    kernels: braid_recurrence_kernels = braid_kernels_current().pointee.recurrence
  ) {
    if layout.decay == .perChannel {
      return channelDecayedAttention(layout, inputs, state: state, saved: saved, o: o, kernels: kernels)
    }
    let (keys, values, heads, chunk) = (layout.keys, layout.values, layout.heads, layout.chunk)
    let stateSize = keys * values
    let most = Swift.min(chunk, layout.length)
    let scoreCount = most * Int(kernels.score_row(most))
    let rowCount = (most * keys + 15) / 16 * 16
    let workspaceCount = Int(kernels.forward_workspace(most, keys, layout.valuesPerTask))
    parallelFor(layout.tasks) { index in
      let task = DecayedTask(layout, index)
      let workspace = Workspace(floats: 2 * rowCount + scoreCount + workspaceCount)
      defer { workspace.release() }
      let (qRows, kRows) = (workspace.pointer, workspace.pointer + rowCount)
      let scores = kRows + rowCount
      for c in 0..<layout.chunks {
        let tokens = c * chunk..<Swift.min(layout.length, (c + 1) * chunk)
        var kernel = chunkKernel(layout, inputs, task, tokens, qRows: qRows, kRows: kRows)
        kernel.scores = UnsafePointer(scores)
        kernel.o_row = heads * values
        kernel.workspace = scores + scoreCount
        kernels.scores(tokens.count, keys, kernel.q, kernel.k, scores)
        for head in task.heads {
          let place = task.batch * heads + head
          turn(&kernel, to: head, inputs, task, tokens)
          kernel.state = state + place * stateSize + task.values.lowerBound
          kernel.o =
            o + ((task.batch * layout.length + tokens.lowerBound) * heads + head) * values
            + task.values.lowerBound
          if let saved, kernel.is_fresh == 0 {
            let target = saved + (place * layout.chunks + c) * stateSize + task.values.lowerBound
            for row in 0..<keys {
              (target + row * values).update(from: kernel.state + row * values, count: task.values.count)
            }
          }
          let next = tokens.upperBound..<Swift.min(layout.length, tokens.upperBound + chunk)
          var ahead = rowsAhead(layout, inputs, task, next, head)
          braid_block_ahead_add(&ahead, kernel.o + chunk * heads * values, heads * values, kernel.values)
          withUnsafeMutablePointer(to: &ahead) {
            kernel.ahead = $0
            kernels.scalar_forward(&kernel)
          }
        }
      }
    }
  }

  /// Gradients of a decayed attention: q and k [batch, length, groups, keys], v as o, and of the decay: nil, or
  /// [batch, length, heads] (also where it is fixed), or [batch, length, heads, keys].
  struct DecayedAttentionGradients {
    var q, k, v: UnsafeMutablePointer<Float>
    var decay: UnsafeMutablePointer<Float>?
    /// In, the gradient of the final state; out, of the first.
    var state: UnsafeMutablePointer<Float>
  }

  /// All gradients of `decayedAttention` from that of o, and of the final state in `gradients.state`.
  static func decayedAttentionGradient(
    _ layout: DecayedAttentionLayout, _ inputs: DecayedAttentionInputs, saved: UnsafePointer<Float>,
    do output: UnsafePointer<Float>, into gradients: DecayedAttentionGradients,
    kernels: braid_recurrence_kernels = braid_kernels_current().pointee.recurrence
  ) {
    let (keys, values, heads, chunk) = (layout.keys, layout.values, layout.heads, layout.chunk)
    let (length, groups) = (layout.length, layout.groups)
    let stateSize = keys * values
    let most = Swift.min(chunk, length)
    let isScalar = layout.decay != .perChannel
    let scoreCount = most * Int(kernels.score_row(most))
    let rowCount = (most * keys + 15) / 16 * 16
    let workspaceCount = Int(kernels.backward_workspace(most, keys, layout.valuesPerTask))
    // What several tasks add to goes to parts that are summed in a fixed order afterwards.
    let queryCount = layout.batch * length * groups * keys
    let decayCount = layout.batch * length * heads * (isScalar ? 1 : keys)
    let queryParts = Workspace(floats: layout.parts > 1 ? 2 * layout.parts * queryCount : 0)
    let decayParts = Workspace(
      floats: layout.valueRanges > 1 && gradients.decay != nil ? layout.valueRanges * decayCount : 0)
    defer {
      queryParts.release()
      decayParts.release()
    }
    let dqParts = layout.parts > 1 ? queryParts.pointer : gradients.q
    let dkParts = layout.parts > 1 ? queryParts.pointer + layout.parts * queryCount : gradients.k
    let decayTarget = layout.valueRanges > 1 ? decayParts.pointer : gradients.decay
    let targets = DecayedAttentionGradients(
      q: dqParts, k: dkParts, v: gradients.v, decay: decayTarget, state: gradients.state)
    if !isScalar {
      channelDecayedAttentionGradient(
        layout, inputs, saved: saved, do: output, parts: targets, kernels: kernels)
    }
    parallelFor(isScalar ? layout.tasks : 0) { index in
      let task = DecayedTask(layout, index)
      let workspace = Workspace(floats: 4 * rowCount + 2 * scoreCount + workspaceCount)
      defer { workspace.release() }
      let (qRows, kRows) = (workspace.pointer, workspace.pointer + rowCount)
      let (dq, dk) = (kRows + rowCount, kRows + 2 * rowCount)
      let scores = dk + rowCount
      let dscores = scores + scoreCount
      for c in stride(from: layout.chunks - 1, through: 0, by: -1) {
        let tokens = c * chunk..<Swift.min(length, (c + 1) * chunk)
        var kernel = chunkKernel(layout, inputs, task, tokens, qRows: qRows, kRows: kRows)
        kernel.scores = UnsafePointer(scores)
        kernel.workspace = dscores + scoreCount
        var gradient = braid_recurrence_gradient()
        gradient.do_row = heads * values
        gradient.dv_row = heads * values
        gradient.dstate_row = values
        gradient.dq = dq
        gradient.dk = dk
        gradient.dscores = dscores
        gradient.ddecay_row = heads
        dq.update(repeating: 0, count: 2 * rowCount)
        kernels.scores(tokens.count, keys, kernel.q, kernel.k, scores)
        dscores.update(repeating: 0, count: scoreCount)
        for head in task.heads {
          let place = task.batch * heads + head
          let row = ((task.batch * length + tokens.lowerBound) * heads + head)
          turn(&kernel, to: head, inputs, task, tokens)
          kernel.state =
            UnsafeMutablePointer(mutating: saved) + (place * layout.chunks + c) * stateSize
            + task.values.lowerBound
          gradient.d_o = output + row * values + task.values.lowerBound
          gradient.dv = gradients.v + row * values + task.values.lowerBound
          gradient.dstate = gradients.state + place * stateSize + task.values.lowerBound
          gradient.ddecay = decayTarget.map {
            $0 + task.part % layout.valueRanges * decayCount + row
          }
          let next = Swift.max(0, tokens.lowerBound - chunk)..<tokens.lowerBound
          var ahead = rowsAhead(layout, inputs, task, next, head)
          let back = next.count * heads * values
          braid_block_ahead_add(&ahead, gradient.d_o - back, heads * values, kernel.values)
          braid_block_ahead_add(&ahead, gradient.dv - back, heads * values, kernel.values)
          withUnsafeMutablePointer(to: &ahead) {
            kernel.ahead = $0
            kernels.scalar_backward(&kernel, &gradient)
          }
        }
        kernels.scores_gradient(tokens.count, keys, kernel.q, kernel.k, dscores, dq, dk)
        for (from, to) in [(dq, dqParts), (dk, dkParts)] {
          let target =
            to + task.part * queryCount
            + ((task.batch * length + tokens.lowerBound) * groups + task.group) * keys
          for t in 0..<tokens.count {
            (target + t * groups * keys).update(from: from + t * keys, count: keys)
          }
        }
      }
    }
    if layout.parts > 1 {
      sumParts(dqParts, parts: layout.parts, count: queryCount, into: gradients.q)
      sumParts(dkParts, parts: layout.parts, count: queryCount, into: gradients.k)
    }
    if layout.valueRanges > 1, let target = gradients.decay {
      sumParts(decayParts.pointer, parts: layout.valueRanges, count: decayCount, into: target)
    }
  }

  /// out[i] = the sum over parts of x[part][i].
  private static func sumParts(
    _ x: UnsafePointer<Float>, parts: Int, count: Int, into out: UnsafeMutablePointer<Float>
  ) {
    parallelRanges(count, minimum: 16_384) { range in
      for i in range {
        var sum = x[i]
        for part in 1..<parts { sum += x[part * count + i] }
        out[i] = sum
      }
    }
  }
}
