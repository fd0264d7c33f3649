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
  var d, bias: UnsafePointer<Float>?
}

extension CPU {
  private static let log2e: Float = 1.442_695_04

  /// Calls `body` once for each batch element and channel block, in parallel, with its block prepared.
  private static func forEachScanBlock(
    _ layout: ScanLayout, _ inputs: ScanInputs, lanes: Int,
    _ body: (_ batch: Int, _ block: Int, _ range: Range<Int>, _ scan: Int, _ kernel: inout braid_scan_block)
      -> Void
  ) {
    let blocks = layout.blocks(lanes: lanes)
    let (states, channels, scans) = (layout.states, layout.channels, layout.scans)
    let bcRow = scans * layout.groups * states
    parallelFor(layout.batch * blocks.count) { task in
      let (batch, index) = task.quotientAndRemainder(dividingBy: blocks.count)
      let range = blocks[index]
      withUnsafeTemporaryAllocation(of: Float.self, capacity: states * lanes) { table in
        for scan in 0..<scans {
          for n in 0..<states {
            for lane in 0..<lanes {
              let channel = range.lowerBound + lane
              table[n * lanes + lane] =
                channel < range.upperBound ? inputs.a[(scan * channels + channel) * states + n] * log2e : 0
            }
          }
          let bcOffset =
            batch * layout.length * bcRow
            + (scan * layout.groups + range.lowerBound / layout.channelsPerGroup) * states
          var kernel = braid_scan_block()
          kernel.u = inputs.u + batch * layout.length * channels + range.lowerBound
          kernel.delta =
            inputs.delta + batch * layout.length * scans * channels + scan * channels + range.lowerBound
          kernel.b = inputs.b + bcOffset
          kernel.c = inputs.c + bcOffset
          kernel.u_row = channels
          kernel.y_row = channels
          kernel.delta_row = scans * channels
          kernel.bc_row = bcRow
          kernel.length = layout.length
          kernel.channels = range.count
          kernel.states = states
          kernel.a = UnsafePointer(table.baseAddress)
          kernel.d = inputs.d.map { $0 + scan * channels + range.lowerBound }
          kernel.bias = inputs.bias.map { $0 + scan * channels + range.lowerBound }
          kernel.softplus = layout.softplus ? 1 : 0
          kernel.accumulate = scan > 0 ? 1 : 0
          kernel.chunk = ScanLayout.chunk
          func run(_ order: UnsafePointer<Int32>?) {
            kernel.order = order
            body(batch, index, range, scan, &kernel)
          }
          if let order = layout.orders[scan] {
            order.withUnsafeBufferPointer { run($0.baseAddress) }
          } else {
            run(nil)
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
    forEachScanBlock(layout, inputs, lanes: lanes) { batch, block, range, scan, kernel in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: states * lanes) { registers in
        let own = state + ((batch * layout.scans + scan) * channels + range.lowerBound) * states
        transposeStates(own, states: states, count: range.count, lanes: lanes, into: registers.baseAddress!)
        kernel.state = registers.baseAddress
        kernel.y = y + batch * layout.length * channels + range.lowerBound
        kernel.saved = saved.map { $0 + ((batch * blockCount + block) * layout.scans + scan) * savedPerScan }
        kernels.forward(&kernel)
        for channel in 0..<range.count {
          for n in 0..<states { own[channel * states + n] = registers[n * lanes + channel] }
        }
      }
    }
  }

  private static func transposeStates(
    _ source: UnsafeMutablePointer<Float>, states: Int, count: Int, lanes: Int,
    into table: UnsafeMutablePointer<Float>
  ) {
    for n in 0..<states {
      for lane in 0..<lanes { table[n * lanes + lane] = lane < count ? source[lane * states + n] : 0 }
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
    let parts = layout.batch * blocks.count * scans
    let bcPart = length * states
    let workspaceCount = Int(kernels.workspace(states, ScanLayout.chunk))
    let bParts = Storage(byteCount: parts * bcPart * 4)
    let cParts = Storage(byteCount: parts * bcPart * 4)
    let aParts = Storage(byteCount: layout.batch * perScan * (states + 2) * 4)
    let db = bParts.pointer.assumingMemoryBound(to: Float.self)
    let dc = cParts.pointer.assumingMemoryBound(to: Float.self)
    let da = aParts.pointer.assumingMemoryBound(to: Float.self)
    defer { withExtendedLifetime((bParts, cParts, aParts)) {} }
    db.update(repeating: 0, count: parts * bcPart)
    dc.update(repeating: 0, count: parts * bcPart)

    forEachScanBlock(layout, inputs, lanes: lanes) { batch, block, range, scan, kernel in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: workspaceCount + (2 * states + 2) * lanes) {
        memory in
        let sums = memory.baseAddress! + workspaceCount
        sums.update(repeating: 0, count: (2 * states + 2) * lanes)
        let part = (batch * blocks.count + block) * scans + scan
        let stateOffset = ((batch * scans + scan) * channels + range.lowerBound) * states
        kernel.saved = UnsafeMutablePointer(mutating: saved) + part * savedPerScan
        var gradient = braid_scan_gradient()
        gradient.workspace = memory.baseAddress
        gradient.da = sums
        gradient.dd = sums + states * lanes
        gradient.dbias = sums + (states + 1) * lanes
        gradient.dstate = sums + (states + 2) * lanes
        if let finalState {
          for channel in 0..<range.count {
            for n in 0..<states {
              gradient.dstate[n * lanes + channel] = finalState[stateOffset + channel * states + n]
            }
          }
        }
        gradient.dy = dy + batch * length * channels + range.lowerBound
        gradient.du = gradients.u + batch * length * channels + range.lowerBound
        gradient.ddelta = gradients.delta + batch * length * perScan + scan * channels + range.lowerBound
        gradient.db = db + part * bcPart
        gradient.dc = dc + part * bcPart
        kernels.backward(&kernel, &gradient)
        for channel in 0..<range.count {
          let row = da + ((batch * scans + scan) * channels + range.lowerBound + channel) * (states + 2)
          for n in 0..<states {
            row[n] = sums[n * lanes + channel]
            gradients.initialState[stateOffset + channel * states + n] = gradient.dstate[n * lanes + channel]
          }
          row[states] = gradient.dd[channel]
          row[states + 1] = gradient.dbias[channel]
        }
      }
    }
    for channel in 0..<perScan {
      for n in 0..<states + 2 {
        var total: Float = 0
        for batch in 0..<layout.batch { total += da[(batch * perScan + channel) * (states + 2) + n] }
        if n < states {
          gradients.a[channel * states + n] = total
        } else if n == states {
          gradients.d[channel] = total
        } else {
          gradients.bias[channel] = total
        }
      }
    }
    // Time steps go back to positions, channel blocks of a group add up.
    let (groups, bcRow) = (layout.groups, scans * layout.groups * states)
    parallelFor(layout.batch * scans * groups) { task in
      let (batch, rest) = task.quotientAndRemainder(dividingBy: scans * groups)
      let (scan, group) = rest.quotientAndRemainder(dividingBy: groups)
      let members = blocks.indices.filter { blocks[$0].lowerBound / layout.channelsPerGroup == group }
      for t in 0..<length {
        let position = layout.orders[scan].map { Int($0[t]) } ?? t
        let target = (batch * length + position) * bcRow + (scan * groups + group) * states
        for n in 0..<states {
          var (b, c): (Float, Float) = (0, 0)
          for block in members {
            let part = ((batch * blocks.count + block) * scans + scan) * bcPart + t * states + n
            b += db[part]
            c += dc[part]
          }
          gradients.b[target + n] = b
          gradients.c[target + n] = c
        }
      }
    }
  }
}
