import CBraidKernels

/// The selective scan of Mamba over sequences, as one operation.
///
///     Δ_t = softplus(steps_t + stepBias);  h_t = exp(Δ_t A) h_{t-1} + Δ_t u_t B_t;  y_t = C_t h_t + D u_t
///
/// - Parameters:
///   - u: [B, L, D].
///   - steps: Δ before bias and softplus, [B, L, D].
///   - decay: A, negative, [D, N].
///   - inputs: B, [B, L, N], or [B, L, G, N] where D / G neighbouring channels share a row.
///   - outputs: C, as B.
///   - skip: D, [D], or nil.
///   - stepBias: [D], or nil.
///   - softplus: whether Δ goes through softplus.
///   - initialState: h_0, [B, D, N]; nil is zero.
/// - Returns: y [B, L, D] and h_L [B, D, N]; gradients flow into and out of both.
/// Source: Gu and Dao, "Mamba: linear-time sequence modeling with selective state spaces", 2023, algorithm 2.
public func selectiveScan(
  _ u: Tensor, steps: Tensor, decay: Tensor, inputs: Tensor, outputs: Tensor, skip: Tensor? = nil,
  stepBias: Tensor? = nil, softplus: Bool = true, initialState: Tensor? = nil
) -> (output: Tensor, finalState: Tensor) {
  precondition(
    u.rank == 3 && steps.shape == u.shape && decay.rank == 2 && decay.shape[0] == u.shape[2],
    "selectiveScan: u \(u.shape), steps \(steps.shape), decay \(decay.shape)")
  let groups = inputs.rank == 4 ? inputs.shape[2] : 1
  let layout = ScanLayout(
    batch: u.shape[0], length: u.shape[1], channels: u.shape[2], states: decay.shape[1], scans: 1,
    orders: [nil],
    channelsPerGroup: u.shape[2] / groups, softplus: softplus)
  let state = initialState ?? .zeros([layout.batch, layout.channels, layout.states])
  precondition(
    u.shape[2] % groups == 0 && state.shape == [layout.batch, layout.channels, layout.states],
    "selectiveScan: \(groups) groups, initial state \(state.shape) for u \(u.shape)")
  let results = scan(
    layout, u: u, steps: steps, decay: decay, inputs: inputs, outputs: outputs, skip: skip,
    stepBias: stepBias,
    state: state)
  return (results[0], results[1])
}

/// Selective scans of a map in four directions, as one operation; their outputs are added.
///
/// The directions are: row by row, column by column, and both backwards. Each starts from a zero state.
///
/// - Parameters:
///   - u: [B, H, W, D].
///   - steps: Δ before bias and softplus, [B, H, W, 4 D], direction by direction.
///   - decay: A, negative, [4 D, N].
///   - inputs: B, [B, H, W, 4, N].
///   - outputs: C, as B.
///   - skip: D, [4 D].
///   - stepBias: [4 D].
/// - Returns: [B, H, W, D].
/// Source: Liu et al., "VMamba: visual state space model", 2024, section 4.2.
public func selectiveScan2D(
  _ u: Tensor, steps: Tensor, decay: Tensor, inputs: Tensor, outputs: Tensor, skip: Tensor, stepBias: Tensor
) -> Tensor {
  precondition(u.rank == 4, "selectiveScan2D: u \(u.shape) is not [B, H, W, D]")
  let (batch, height, width, channels) = (u.shape[0], u.shape[1], u.shape[2], u.shape[3])
  precondition(
    steps.shape == [batch, height, width, 4 * channels] && decay.rank == 2 && decay.shape[0] == 4 * channels,
    "selectiveScan2D: u \(u.shape), steps \(steps.shape), decay \(decay.shape)")
  let length = height * width
  let columns = (0..<length).map { Int32($0 % height * width + $0 / height) }
  let layout = ScanLayout(
    batch: batch, length: length, channels: channels, states: decay.shape[1], scans: 4,
    orders: [nil, columns, (0..<length).map { Int32(length - 1 - $0) }, columns.reversed()],
    channelsPerGroup: channels, softplus: true)
  return scan(
    layout, u: u, steps: steps, decay: decay, inputs: inputs, outputs: outputs, skip: skip,
    stepBias: stepBias,
    state: .zeros([batch, 4 * channels, layout.states]))[0]
}

/// The distance from one run of `count` neighbouring elements to the next; nil where the tensor is not such rows at
/// equal distances.
private func distance(ofRows count: Int, in x: Tensor) -> Int? {
  var (elements, distance, expected) = (1, count, 0)
  for axis in stride(from: x.rank - 1, through: 0, by: -1) where x.shape[axis] != 1 {
    if elements < count {
      guard x.strides[axis] == elements else { return nil }
    } else if elements == count {
      distance = x.strides[axis]
    } else if x.strides[axis] != expected {
      return nil
    }
    expected = x.strides[axis] * x.shape[axis]
    elements *= x.shape[axis]
  }
  return elements % Swift.max(count, 1) == 0 ? distance : nil
}

private func scan(
  _ layout: ScanLayout, u: Tensor, steps: Tensor, decay: Tensor, inputs: Tensor, outputs: Tensor,
  skip: Tensor?,
  stepBias: Tensor?, state: Tensor
) -> [Tensor] {
  let positions = layout.batch * layout.length
  precondition(
    inputs.elementCount == positions * layout.scans * layout.groups * layout.states
      && outputs.shape == inputs.shape && inputs.shape[-1] == layout.states,
    "selectiveScan: inputs \(inputs.shape), outputs \(outputs.shape) for u \(u.shape) and decay \(decay.shape)"
  )
  for (name, vector) in [("skip", skip), ("stepBias", stepBias)] {
    precondition(
      vector.map { $0.elementCount == layout.scans * layout.channels } ?? true,
      "selectiveScan: \(name) \(vector!.shape) for decay \(decay.shape)")
  }
  let arguments = [u, steps, decay, inputs, outputs, state] + [skip, stepBias].compactMap { $0 }
  // B and C are mostly parts of the rows of one projection: those are read where they are.
  let rowCount = layout.scans * layout.groups * layout.states
  let distances = [inputs, outputs].map { $0.dtype == .float32 ? distance(ofRows: rowCount, in: $0) : nil }
  let bcRow = distances[0] == distances[1] ? distances[0] : nil
  let plain = arguments.enumerated().map { index, argument in
    if bcRow != nil && (3...4).contains(index) { return argument.detached }
    return argument.detached.cast(to: .float32).contiguous()
  }
  let skipIndex = skip == nil ? nil : 6
  let biasIndex = stepBias == nil ? nil : 6 + (skip == nil ? 0 : 1)
  let records = Autograd.isRecording && arguments.contains { $0.requiresGradient }

  func withPointers<Result>(_ body: (ScanInputs) -> Result) -> Result {
    let pointers = plain.map {
      UnsafePointer($0.storage.pointer.assumingMemoryBound(to: Float.self)) + $0.offset
    }
    return withExtendedLifetime(plain) {
      body(
        ScanInputs(
          u: pointers[0], delta: pointers[1], a: pointers[2], b: pointers[3], c: pointers[4],
          bcRow: bcRow, d: skipIndex.map { pointers[$0] }, bias: biasIndex.map { pointers[$0] }))
    }
  }

  let saved =
    records
    ? Tensor.uninitialized([CPU.scanSavedCount(layout, lanes: Int(CPU.kernels.pointee.scan.lanes))]) : nil
  let finalState = Tensor.build(state.shape) { target in
    plain[5].read { target.update(from: $0, count: state.elementCount) }
  }
  let y = Tensor.build(u.shape) { y in
    withPointers { inputs in
      finalState.overwrite(as: Float.self) { state in
        guard let saved else {
          return CPU.selectiveScan(layout, inputs, state: state, saved: nil, y: y)
        }
        saved.overwrite(as: Float.self) {
          CPU.selectiveScan(layout, inputs, state: state, saved: $0, y: y)
        }
      }
    }
  }
  return Tensor.recordMany("selectiveScan", [y, finalState], inputs: arguments) { gradients, needed in
    let dy = gradients[0] ?? .zeros(u.shape)
    var results = plain.map { Tensor.uninitialized($0.shape) }
    // Not every scan has a skip or a bias; the kernel writes their gradients all the same.
    while results.count < 8 { results.append(.uninitialized([layout.scans * layout.channels])) }
    func target(_ index: Int) -> UnsafeMutablePointer<Float> {
      results[index].storage.pointer.assumingMemoryBound(to: Float.self)
    }
    let unused = results.count - 1
    withExtendedLifetime(results) {
      dy.read { dy in
        saved!.read { saved in
          withPointers { inputs in
            let into = CPU.ScanGradients(
              u: target(0), delta: target(1), a: target(2), b: target(3), c: target(4),
              d: target(skipIndex ?? unused),
              bias: target(biasIndex ?? (skipIndex == nil ? unused - 1 : unused)),
              initialState: target(5))
            if let final = gradients[1] {
              final.read {
                CPU.selectiveScanGradient(layout, inputs, saved: saved, dy: dy, finalState: $0, into: into)
              }
            } else {
              CPU.selectiveScanGradient(layout, inputs, saved: saved, dy: dy, finalState: nil, into: into)
            }
          }
        }
      }
    }
    return zip(results, needed).prefix(arguments.count).map { $1 ? $0 : nil }
  }
}
