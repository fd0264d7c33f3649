import CBraidKernels

/// Decayed attention with one decay a key: a task takes a head's whole sequence.
extension CPU {
  private static func sequence(
    _ layout: DecayedAttentionLayout, _ inputs: DecayedAttentionInputs, _ task: DecayedTask,
    saved: UnsafeMutablePointer<Float>?, workspace: UnsafeMutablePointer<Float>
  ) -> braid_recurrence_sequence {
    let head = task.heads.lowerBound
    let decay = inputs.decay!
    var sequence = braid_recurrence_sequence()
    sequence.length = layout.length
    sequence.keys = layout.keys
    sequence.values = task.values.count
    sequence.q = inputs.q.row(task.batch, 0, head)
    sequence.k = inputs.k.row(task.batch, 0, head)
    sequence.v = inputs.v.row(task.batch, 0, head) + task.values.lowerBound
    sequence.decay = decay.row(task.batch, 0, head)
    sequence.q_row = inputs.q.token
    sequence.k_row = inputs.k.token
    sequence.v_row = inputs.v.token
    sequence.decay_row = decay.token
    sequence.scale = layout.scale
    sequence.state_row = layout.values
    sequence.is_fresh = layout.isFresh ? 1 : 0
    let stateSize = layout.keys * layout.values
    sequence.saved = saved.map {
      $0 + (task.batch * layout.heads + head) * layout.chunks * stateSize + task.values.lowerBound
    }
    sequence.saved_chunk = stateSize
    sequence.workspace = workspace
    return sequence
  }

  /// `decayedAttention` for decays of [batch, length, heads, keys].
  static func channelDecayedAttention(
    _ layout: DecayedAttentionLayout, _ inputs: DecayedAttentionInputs, state: UnsafeMutablePointer<Float>,
    saved: UnsafeMutablePointer<Float>?, o: UnsafeMutablePointer<Float>, kernels: braid_recurrence_kernels
  ) {
    precondition(layout.headsPerGroup == 1)
    let (heads, values) = (layout.heads, layout.values)
    let workspaceCount = Int(kernels.sequence_workspace(layout.keys, layout.valuesPerTask))
    parallelFor(layout.tasks) { index in
      let task = DecayedTask(layout, index)
      let workspace = Workspace(floats: workspaceCount)
      defer { workspace.release() }
      var sequence = sequence(layout, inputs, task, saved: saved, workspace: workspace.pointer)
      let place = task.batch * heads + task.heads.lowerBound
      sequence.state = state + place * layout.keys * values + task.values.lowerBound
      sequence.o =
        o + (task.batch * layout.length * heads + task.heads.lowerBound) * values + task.values.lowerBound
      sequence.o_row = heads * values
      kernels.channels_forward(&sequence)
    }
  }

  /// The gradients of `channelDecayedAttention`, those of q, k and the decay in parts of one range of values each.
  static func channelDecayedAttentionGradient(
    _ layout: DecayedAttentionLayout, _ inputs: DecayedAttentionInputs, saved: UnsafePointer<Float>,
    do output: UnsafePointer<Float>, parts: DecayedAttentionGradients, kernels: braid_recurrence_kernels
  ) {
    let (heads, keys, values) = (layout.heads, layout.keys, layout.values)
    let count = layout.batch * layout.length * heads * keys
    let workspaceCount = Int(kernels.sequence_gradient_workspace(keys, layout.valuesPerTask))
    parallelFor(layout.tasks) { index in
      let task = DecayedTask(layout, index)
      let workspace = Workspace(floats: workspaceCount)
      defer { workspace.release() }
      var sequence = sequence(
        layout, inputs, task, saved: UnsafeMutablePointer(mutating: saved), workspace: workspace.pointer)
      var gradient = braid_recurrence_sequence_gradient()
      let head = task.batch * layout.length * heads + task.heads.lowerBound
      let keyPlace = task.part * count + head * keys
      let valuePlace = head * values + task.values.lowerBound
      gradient.d_o = output + valuePlace
      gradient.dv = parts.v + valuePlace
      gradient.dq = parts.q + keyPlace
      gradient.dk = parts.k + keyPlace
      gradient.ddecay = parts.decay! + keyPlace
      gradient.do_row = heads * values
      gradient.dv_row = heads * values
      gradient.dq_row = heads * keys
      gradient.dk_row = heads * keys
      gradient.ddecay_row = heads * keys
      gradient.dstate =
        parts.state + (task.batch * heads + task.heads.lowerBound) * keys * values + task.values.lowerBound
      gradient.dstate_row = values
      kernels.channels_backward(&sequence, &gradient)
    }
  }
}
