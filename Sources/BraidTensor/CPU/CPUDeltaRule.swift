import CBraidKernels

/// The problem that a call of the delta rule solves.
struct DeltaRuleShape: Sendable {
  var batch, length, heads, keyHeads, keys, values: Int
  var scale: Float
  var decay: braid_delta_decay

  /// Value heads that share a query and a key head.
  var group: Int { heads / keyHeads }
  var chunks: Int { (length + CPU.deltaRuleChunk - 1) / CPU.deltaRuleChunk }
  var stateCount: Int { keys * values }

  /// Up to so many steps, the plain recurrence is faster than a chunk.
  static let fewSteps = 8
}

/// Arrays of the delta rule: q and k by key head, the others by value head; beta [B, L, H], decay likewise or
/// [B, L, H, keys].
struct DeltaRuleInputs: @unchecked Sendable {
  var q, k, v, beta: HeadRows
  var decay: HeadRows?
  /// [B, H, keys, values], dense; nil is zeros.
  var initialState: UnsafePointer<Float>?
}

/// Gradients of the delta rule, dense arrays with the shapes of the inputs.
struct DeltaRuleGradients: @unchecked Sendable {
  var q, k, v, beta: UnsafeMutablePointer<Float>
  var decay: UnsafeMutablePointer<Float>?
  var initialState: UnsafeMutablePointer<Float>
}

/// What the gradient needs of the forward pass.
struct DeltaRuleTrace: Sendable {
  /// The states before each chunk: [B, H, chunks, keys, values].
  let states: Tensor
  /// What each value differs by from its prediction: [B, H, L, values].
  let errors: Tensor

  init(_ shape: DeltaRuleShape) {
    states = .uninitialized([shape.batch, shape.heads, shape.chunks, shape.keys, shape.values])
    errors = .uninitialized([shape.batch, shape.heads, shape.length, shape.values])
  }
}

extension CPU {
  static let deltaRuleChunk = 64

  private static func head(
    _ shape: DeltaRuleShape, _ inputs: DeltaRuleInputs, batch: Int, head: Int, trace: DeltaRuleTrace?
  ) -> braid_delta_forward {
    let keyHead = head / shape.group
    let index = batch * shape.heads + head
    var block = braid_delta_forward()
    block.length = shape.length
    block.keys = shape.keys
    block.values = shape.values
    block.q = inputs.q.start(batch, keyHead)
    block.k = inputs.k.start(batch, keyHead)
    block.v = inputs.v.start(batch, head)
    block.beta = inputs.beta.start(batch, head)
    block.g = inputs.decay?.start(batch, head)
    block.q_row = inputs.q.lengthStride
    block.k_row = inputs.k.lengthStride
    block.v_row = inputs.v.lengthStride
    block.beta_row = inputs.beta.lengthStride
    block.g_row = inputs.decay?.lengthStride ?? 0
    block.decay = shape.decay
    block.scale = shape.scale
    block.initial_state = inputs.initialState.map { $0 + index * shape.stateCount }
    block.o_row = shape.heads * shape.values
    if let trace {
      block.saved_states = trace.states.mutablePointer + index * shape.chunks * shape.stateCount
      block.saved_errors = trace.errors.mutablePointer + index * shape.length * shape.values
    }
    return block
  }

  /// The outputs [B, L, H, values], dense, and the states behind the last step [B, H, keys, values].
  static func deltaRule(
    _ shape: DeltaRuleShape, _ inputs: DeltaRuleInputs, output: UnsafeMutablePointer<Float>,
    finalState: UnsafeMutablePointer<Float>, trace: DeltaRuleTrace? = nil,
    kernels: braid_delta_kernels = braid_kernels_current().pointee.delta
  ) {
    let steps = trace == nil && shape.length <= DeltaRuleShape.fewSteps
    let floats = steps ? 3 * shape.keys : Int(kernels.workspace(shape.keys, shape.values))
    let one = { (task: Int) in
      let (batch, index) = task.quotientAndRemainder(dividingBy: shape.heads)
      let workspace = Workspace(floats: floats)
      defer { workspace.release() }
      var block = head(shape, inputs, batch: batch, head: index, trace: trace)
      block.final_state = finalState + task * shape.stateCount
      block.o = output + (batch * shape.length * shape.heads + index) * shape.values
      block.workspace = workspace.pointer
      if steps { kernels.steps(&block) } else { kernels.forward(&block) }
    }
    let tasks = shape.batch * shape.heads
    if tasks * shape.length * shape.stateCount < 1 << 15 {
      for task in 0..<tasks { one(task) }
    } else {
      parallelFor(tasks, one)
    }
  }

  /// All gradients of `deltaRule` from those of its outputs (nil: zeros) and of its final states.
  static func deltaRuleGradient(
    _ shape: DeltaRuleShape, _ inputs: DeltaRuleInputs, trace: DeltaRuleTrace, output: HeadRows,
    finalState: UnsafePointer<Float>?, into gradients: DeltaRuleGradients,
    kernels: braid_delta_kernels = braid_kernels_current().pointee.delta
  ) {
    let (heads, group) = (shape.heads, shape.group)
    let floats = Int(kernels.gradient_workspace(shape.keys, shape.values))
    // Value heads that share keys add to the same gradient, in order: one task takes them all.
    parallelFor(shape.batch * shape.keyHeads) { task in
      let (batch, keyHead) = task.quotientAndRemainder(dividingBy: shape.keyHeads)
      let workspace = Workspace(floats: floats)
      defer { workspace.release() }
      for member in 0..<group {
        let index = keyHead * group + member
        var block = head(shape, inputs, batch: batch, head: index, trace: trace)
        block.workspace = workspace.pointer
        var gradient = braid_delta_gradient()
        let keyRow = (batch * shape.length * shape.keyHeads + keyHead) * shape.keys
        let row = batch * shape.length * heads + index
        let decayWidth = shape.decay == BRAID_DELTA_CHANNEL_DECAY ? shape.keys : 1
        let state = (batch * heads + index) * shape.stateCount
        gradient.d_o = output.start(batch, index)
        gradient.d_o_row = output.lengthStride
        gradient.d_final_state = finalState.map { $0 + state }
        gradient.dq = gradients.q + keyRow
        gradient.dk = gradients.k + keyRow
        gradient.dv = gradients.v + row * shape.values
        gradient.dbeta = gradients.beta + row
        gradient.dg = gradients.decay.map { $0 + row * decayWidth }
        gradient.dq_row = shape.keyHeads * shape.keys
        gradient.dk_row = gradient.dq_row
        gradient.dv_row = heads * shape.values
        gradient.dbeta_row = heads
        gradient.dg_row = heads * decayWidth
        gradient.d_initial_state = gradients.initialState + state
        gradient.accumulates = member > 0 ? 1 : 0
        kernels.backward(&block, &gradient)
      }
    }
  }
}
