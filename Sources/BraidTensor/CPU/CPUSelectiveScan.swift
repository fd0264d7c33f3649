import CBraidKernels

/// The selective scan of several orders over the same positions, as the op files call it.
struct ScanLayout {
  var batch: Int
  /// Positions of a sequence.
  var length: Int
  /// Channels of u and y.
  var channels: Int
  var states: Int
  /// Scans whose outputs are added: one for a sequence, four for a map. Each has its own delta, B, C, A, D.
  var scans: Int
  /// For each scan the position of every time step; nil is the order of memory.
  var orders: [[Int32]?]
  /// Neighbouring channels that share a row of B and C.
  var channelsPerGroup: Int
  var groups: Int { channels / channelsPerGroup }
  var softplus: Bool

  /// Time steps between saved states.
  static let chunk = 32
  /// Time steps of a kernel call, whole chunks.
  static let span = 64

  /// Ranges of neighbouring blocks that one task works on in turns: none crosses a group, and how many there are
  /// depends on the shapes alone, because a run's sums over channels are made in one order.
  ///
  /// There are at least sixteen tasks where there are as many blocks. A gradient reads and writes more arrays, so
  /// its runs are longer, four blocks at least where there are as many: a row's memory comes in lines and pages, and
  /// each run has sums of its own to make.
  func runs(lanes: Int, ofGradient isGradient: Bool = false) -> [Range<Int>] {
    let blocks = (channelsPerGroup + lanes - 1) / lanes
    let most = isGradient ? Swift.max(1, blocks / 4) : blocks
    let tasks = Swift.max(1, groups * batch)
    let perGroup = Swift.min(most, isGradient ? Swift.max(1, 16 / tasks) : (16 + tasks - 1) / tasks)
    return (0..<groups).flatMap { group in
      (0..<perGroup).map { run in
        group * blocks + blocks * run / perGroup..<group * blocks + blocks * (run + 1) / perGroup
      }
    }
  }

  /// The channel blocks: none crosses a group.
  func blocks(lanes: Int) -> [Range<Int>] {
    (0..<groups).flatMap { group in
      stride(from: group * channelsPerGroup, to: (group + 1) * channelsPerGroup, by: lanes).map {
        $0..<Swift.min($0 + lanes, (group + 1) * channelsPerGroup)
      }
    }
  }
}

/// Arrays of a scan; rows: u and y [batch, length, channels], delta [batch, length, scans, channels], b and c
/// [batch, length, scans, groups, states], a [scans, channels, states], d and bias [scans, channels].
struct ScanInputs {
  var u, delta, a, b, c: UnsafePointer<Float>
  /// From one position to the next in b and c, where it is not the length of a row.
  var bcRow: Int?
  var d, bias: UnsafePointer<Float>?
}

extension CPU {
  private static let log2e: Float = 1.442_695_04

  /// One kernel call: a block of channels in a span of steps.
  private struct ScanCall {
    var batch: Int
    var block: Int
    /// Which of the layout's runs the block belongs to.
    var run: Int
    var range: Range<Int>
    var scan: Int
    var span: Range<Int>
    /// The position of the span's first step where positions are steps, otherwise 0.
    var position: Int
    /// Whether the block's first (last) call of this scan.
    var isFirst: Bool, isLast: Bool
    /// Whether the run's first call for these steps.
    var isFirstOfRun: Bool
    /// Floats that the block keeps from call to call.
    var kept: UnsafeMutablePointer<Float>
    /// Floats for the length of the call.
    var scratch: UnsafeMutablePointer<Float>
  }

  /// Calls `body` for each batch element, channel block and span of steps, in parallel over the first two, with the
  /// kernel's block prepared.
  ///
  /// Neighbouring blocks take turns on every span, so that a row is read whole while its pages are at hand. A
  /// block's spans follow one another, `backwards` the last one first.
  private static func forEachScanBlock(
    _ layout: ScanLayout, _ inputs: ScanInputs, _ kernels: braid_scan_kernels, keeping keptCount: Int,
    backwards: Bool = false, scratch scratchCount: Int = 0,
    _ body: (_ call: ScanCall, _ kernel: inout braid_scan_block) -> Void
  ) {
    let lanes = Int(kernels.lanes)
    let blocks = layout.blocks(lanes: lanes)
    let (states, channels, scans) = (layout.states, layout.channels, layout.scans)
    let bcRow = inputs.bcRow ?? scans * layout.groups * states
    let spans = stride(from: 0, to: Swift.max(layout.length, 1), by: ScanLayout.span).map {
      $0..<Swift.min($0 + ScanLayout.span, layout.length)
    }
    let runs = layout.runs(lanes: lanes, ofGradient: backwards)
    let tableCount = states * lanes
    // Of A, which all batch elements share; aligned, so that no vector crosses a cache line.
    let tables = Workspace(floats: scans * blocks.count * tableCount)
    defer { tables.release() }
    for scan in 0..<scans {
      for (index, range) in blocks.enumerated() {
        kernels.to_table(
          inputs.a + (scan * channels + range.lowerBound) * states, states, range.count, log2e,
          tables.pointer + (scan * blocks.count + index) * tableCount)
      }
    }
    parallelFor(layout.batch * runs.count) { task in
      let (batch, run) = task.quotientAndRemainder(dividingBy: runs.count)
      let members = runs[run]
      do {
        let memory = Workspace(floats: members.count * keptCount + scratchCount)
        defer { memory.release() }
        let kept = memory.pointer
        for scan in 0..<scans {
          let ownTables = UnsafePointer(tables.pointer) + scan * blocks.count * tableCount
          func pass(_ order: UnsafePointer<Int32>?) {
            for step in spans.indices {
              let span = spans[backwards ? spans.count - 1 - step : step]
              let position = order == nil ? span.lowerBound : 0
              let first = batch * layout.length + position
              for index in members {
                let range = blocks[index], own = index - members.lowerBound
                let bcOffset =
                  first * bcRow + (scan * layout.groups + range.lowerBound / layout.channelsPerGroup) * states
                var kernel = braid_scan_block()
                kernel.u = inputs.u + first * channels + range.lowerBound
                kernel.delta = inputs.delta + (first * scans + scan) * channels + range.lowerBound
                kernel.b = inputs.b + bcOffset
                kernel.c = inputs.c + bcOffset
                kernel.u_row = channels
                kernel.y_row = channels
                kernel.delta_row = scans * channels
                kernel.bc_row = bcRow
                kernel.order = order.map { $0 + span.lowerBound }
                kernel.length = span.count
                kernel.channels = range.count
                kernel.states = states
                kernel.a = ownTables + index * tableCount
                kernel.d = inputs.d.map { $0 + scan * channels + range.lowerBound }
                kernel.bias = inputs.bias.map { $0 + scan * channels + range.lowerBound }
                kernel.softplus = layout.softplus ? 1 : 0
                kernel.accumulate = scan > 0 ? 1 : 0
                kernel.chunk = ScanLayout.chunk
                let call = ScanCall(
                  batch: batch, block: index, run: run, range: range, scan: scan, span: span,
                  position: position,
                  isFirst: step == 0, isLast: step == spans.count - 1, isFirstOfRun: own == 0,
                  kept: kept + own * keptCount, scratch: kept + members.count * keptCount)
                body(call, &kernel)
              }
            }
          }
          if let order = layout.orders[scan] {
            order.withUnsafeBufferPointer { pass($0.baseAddress) }
          } else {
            pass(nil)
          }
        }
      }
    }
  }

  /// The number of floats that `selectiveScan` saves for the gradient.
  static func scanSavedCount(_ layout: ScanLayout, lanes: Int) -> Int {
    let chunks = (layout.length + ScanLayout.chunk - 1) / ScanLayout.chunk
    return layout.batch * layout.blocks(lanes: lanes).count * layout.scans * chunks * layout.states * lanes
  }

  /// y, and the state after the last step [batch, scans, channels, states] in place of the initial one in `state`.
  static func selectiveScan(
    _ layout: ScanLayout, _ inputs: ScanInputs, state: UnsafeMutablePointer<Float>,
    saved: UnsafeMutablePointer<Float>?,
    y: UnsafeMutablePointer<Float>, kernels: braid_scan_kernels = braid_kernels_current().pointee.scan
  ) {
    let lanes = Int(kernels.lanes)
    let (states, channels) = (layout.states, layout.channels)
    let savedPerScan = (layout.length + ScanLayout.chunk - 1) / ScanLayout.chunk * states * lanes
    let blockCount = layout.blocks(lanes: lanes).count
    forEachScanBlock(layout, inputs, kernels, keeping: states * lanes) { call, kernel in
      let range = call.range
      let own = state + ((call.batch * layout.scans + call.scan) * channels + range.lowerBound) * states
      if call.isFirst { kernels.to_table(own, states, range.count, 1, call.kept) }
      kernel.state = call.kept
      kernel.y = y + (call.batch * layout.length + call.position) * channels + range.lowerBound
      kernel.saved = saved.map {
        $0 + ((call.batch * blockCount + call.block) * layout.scans + call.scan) * savedPerScan
          + call.span.lowerBound / ScanLayout.chunk * states * lanes
      }
      kernels.forward(&kernel)
      if call.isLast { kernels.from_table(call.kept, states, range.count, own) }
    }
  }

  /// Gradients of a scan, each laid out as its input; `a`, `d` and `bias` are sums over the batch.
  struct ScanGradients {
    var u, delta, a, b, c, d, bias, initialState: UnsafeMutablePointer<Float>
  }

  /// All gradients of `selectiveScan` from those of y and of the final state (nil: zero).
  static func selectiveScanGradient(
    _ layout: ScanLayout, _ inputs: ScanInputs, saved: UnsafePointer<Float>, dy: UnsafePointer<Float>,
    finalState: UnsafePointer<Float>?, into gradients: ScanGradients,
    kernels: braid_scan_kernels = braid_kernels_current().pointee.scan
  ) {
    let lanes = Int(kernels.lanes)
    let (states, channels, length, scans) = (layout.states, layout.channels, layout.length, layout.scans)
    let savedPerScan = (length + ScanLayout.chunk - 1) / ScanLayout.chunk * states * lanes
    let blocks = layout.blocks(lanes: lanes)
    let perScan = scans * channels
    // What several blocks or batch elements add to goes to parts that are summed in a fixed order afterwards.
    let runs = layout.runs(lanes: lanes, ofGradient: true)
    let parts = layout.batch * runs.count * scans
    // Of B for four states, then of C, and so on: as the kernel writes them.
    let stepPart = (states + 3) / 4 * 8
    let bcPart = length * stepPart
    let bcParts = Workspace(floats: parts * bcPart)
    let aParts = Workspace(floats: Swift.max(1, layout.batch) * perScan * (states + 2))
    let (dbc, da) = (bcParts.pointer, aParts.pointer)
    defer {
      bcParts.release()
      aParts.release()
    }

    let sumCount = (2 * states + 2) * lanes
    forEachScanBlock(
      layout, inputs, kernels, keeping: sumCount, backwards: true,
      scratch: Int(kernels.workspace(states, ScanLayout.chunk))
    ) { call, kernel in
      let (batch, scan, range, sums) = (call.batch, call.scan, call.range, call.kept)
      let part = (batch * runs.count + call.run) * scans + scan
      let block = (batch * blocks.count + call.block) * scans + scan
      let stateOffset = ((batch * scans + scan) * channels + range.lowerBound) * states
      let first = batch * length + call.position
      kernel.saved =
        UnsafeMutablePointer(mutating: saved) + block * savedPerScan
        + call.span.lowerBound / ScanLayout.chunk * states * lanes
      var gradient = braid_scan_gradient()
      gradient.workspace = call.scratch
      gradient.da = sums
      gradient.dd = sums + states * lanes
      gradient.dbias = sums + (states + 1) * lanes
      gradient.dstate = sums + (states + 2) * lanes
      if call.isFirst {
        sums.update(repeating: 0, count: sumCount)
        if let finalState {
          kernels.to_table(finalState + stateOffset, states, range.count, 1, gradient.dstate)
        }
      }
      gradient.dy = dy + first * channels + range.lowerBound
      gradient.du = gradients.u + first * channels + range.lowerBound
      gradient.ddelta = gradients.delta + first * perScan + scan * channels + range.lowerBound
      gradient.dbc = dbc + part * bcPart + call.span.lowerBound * stepPart
      gradient.add_bc = call.isFirstOfRun ? 0 : 1
      kernels.backward(&kernel, &gradient)
      guard call.isLast else { return }
      kernels.from_table(gradient.dstate, states, range.count, gradients.initialState + stateOffset)
      for channel in 0..<range.count {
        let row = da + ((batch * scans + scan) * channels + range.lowerBound + channel) * (states + 2)
        for n in 0..<states { row[n] = sums[n * lanes + channel] }
        row[states] = gradient.dd[channel]
        row[states + 1] = gradient.dbias[channel]
      }
    }
    let aRow = states + 2
    if layout.batch == 0 { da.update(repeating: 0, count: perScan * aRow) }
    parallelRanges(perScan, minimum: 4096 / ((layout.batch + 1) * aRow) + 1) { channels in
      for channel in channels {
        let own = da + channel * aRow  // of the first batch element, which the others are added to
        for batch in stride(from: 1, to: layout.batch, by: 1) {
          let other = own + batch * perScan * aRow
          for n in 0..<aRow { own[n] += other[n] }
        }
        (gradients.a + channel * states).update(from: own, count: states)
        gradients.d[channel] = own[states]
        gradients.bias[channel] = own[states + 1]
      }
    }
    // Time steps go back to positions, runs of a group add up.
    let (groups, bcRow) = (layout.groups, scans * layout.groups * states)
    let members = runs.count / groups
    parallelRanges(layout.batch * scans * groups * length, minimum: 4096 / states + 1) { range in
      for index in range {
        let (row, t) = index.quotientAndRemainder(dividingBy: length)
        let (batch, rest) = row.quotientAndRemainder(dividingBy: scans * groups)
        let (scan, group) = rest.quotientAndRemainder(dividingBy: groups)
        let position = layout.orders[scan].map { Int($0[t]) } ?? t
        let target = (batch * length + position) * bcRow + (scan * groups + group) * states
        let (b, c) = (gradients.b + target, gradients.c + target)
        let first =
          dbc + ((batch * runs.count + group * members) * scans + scan) * bcPart + t * stepPart
        for quad in stride(from: 0, to: states, by: 4) {
          var sum = UnsafeRawPointer(first + 2 * quad).loadUnaligned(as: SIMD8<Float>.self)
          for run in stride(from: 1, to: members, by: 1) {
            sum += UnsafeRawPointer(first + run * scans * bcPart + 2 * quad)
              .loadUnaligned(as: SIMD8<Float>.self)
          }
          if quad + 4 <= states {
            UnsafeMutableRawPointer(b + quad).storeBytes(of: sum.lowHalf, as: SIMD4<Float>.self)
            UnsafeMutableRawPointer(c + quad).storeBytes(of: sum.highHalf, as: SIMD4<Float>.self)
          } else {
            for n in quad..<states { (b[n], c[n]) = (sum[n - quad], sum[n - quad + 4]) }
          }
        }
      }
    }
  }
}
