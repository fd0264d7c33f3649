import CBraidKernels

// One sequence of a `BidirectionalPass`, on one thread.

extension CPU {
  /// Positions that go through a Mamba layer together: four rows of register tiles, whose arrays fit the second cache.
  private static let pieceLength = 56

  /// Replaces the rows of a sequence, `stride` floats apart.
  static func run(
    _ pass: BidirectionalPass, rows: UnsafeMutablePointer<Float>, stride: Int, length: Int
  ) {
    let channels = pass.channels
    let layer = MambaPiece(pass.along, length: Swift.min(length, pieceLength), channels: channels)
    let attentionFloats = pass.attention == nil ? 0 : length * (3 * channels + narrowPair)
    let workspace = Workspace(
      floats: 2 * length * channels + Swift.max(layer.floats, attentionFloats))
    defer { workspace.release() }
    let x = workspace.pointer, out = x + length * channels, rest = out + length * channels
    let copy = pass.kernels.math.copy_rows!
    copy(rows, stride, x, channels, length, channels)
    if let attention = pass.attention {
      add(
        attention, to: x, length: length, channels: channels, normed: out, rest: rest, kernels: pass.kernels)
    }
    var epilogue = GEMMEpilogue()
    epilogue.residual = UnsafePointer(x)
    epilogue.residualRowStride = channels
    withExtendedLifetime(pass) {
      epilogue.bias = UnsafePointer(pass.bias.mutablePointer)
      product(pass.joint, rows: length, of: x, stride: channels, into: out, stride: channels, epilogue)
      for weights in [pass.along, pass.against] {
        layer.run(weights, x: x, length: length, into: out, memory: rest, kernels: pass.kernels)
      }
    }
    copy(out, channels, rows, stride, length, channels)
  }

  /// C = epilogue(A B) on this thread.
  fileprivate static func product(
    _ b: PackedMatrix, rows: Int, of a: UnsafePointer<Float>, stride: Int,
    into c: UnsafeMutablePointer<Float>,
    stride cStride: Int, _ epilogue: GEMMEpilogue
  ) {
    var end = epilogue.kernel()
    withUnsafePointer(to: &end) { end in
      var block = braid_gemm_block()
      block.m = rows
      block.n = b.columns
      block.k = b.rows
      block.k_total = b.rows
      block.a = a
      block.a_row = stride
      block.a_column = 1
      block.b = UnsafePointer(b.pointer)
      block.c = c
      block.c_row = cStride
      block.epilogue = end
      block.is_first = 1
      block.is_last = 1
      b.kernels.block(&block)
    }
  }

  /// x += W_o MHA(LN(x)) + b_o; `normed` has room for length x channels, `rest` for three times that and a head's pairs.
  private static func add(
    _ a: PackedSelfAttention, to x: UnsafeMutablePointer<Float>, length: Int, channels: Int,
    normed: UnsafeMutablePointer<Float>, rest: UnsafeMutablePointer<Float>, kernels: braid_kernels
  ) {
    let width = channels / a.heads, row = 3 * channels
    let projected = rest, mixed = normed, pairs = rest + length * row
    withExtendedLifetime(a) {
      kernels.norm.layer_norm(
        x, length, channels, a.normWeight.mutablePointer, a.normBias.mutablePointer, a.epsilon, normed, nil,
        nil)
      var epilogue = GEMMEpilogue()
      epilogue.bias = UnsafePointer(a.inputBias.mutablePointer)
      product(a.input, rows: length, of: normed, stride: channels, into: projected, stride: row, epilogue)
      for head in 0..<a.heads {
        let queries = projected + head * width
        var narrow = braid_attention_narrow()
        narrow.rows = length
        narrow.n = length
        narrow.d = width
        narrow.dv = width
        narrow.queries = UnsafePointer(queries)
        narrow.query_row = row
        narrow.most = kernels.attention.pack_narrow(
          queries + channels, row, queries + 2 * channels, row, length, width, width,
          log2OfE / Float(width).squareRoot(), pairs)
        narrow.pairs = UnsafePointer(pairs)
        narrow.out = mixed + head * width
        narrow.out_row = channels
        kernels.attention.forward_narrow(&narrow)
      }
      epilogue.bias = a.outputBias.map { UnsafePointer($0.mutablePointer) }
      epilogue.residual = UnsafePointer(x)
      epilogue.residualRowStride = channels
      product(a.output, rows: length, of: mixed, stride: channels, into: x, stride: channels, epilogue)
    }
  }
}

/// How a Mamba layer's arrays of a few positions lie in memory. Rows are a cache line longer than a power of two, so
/// that those of a register tile do not meet in the same sets.
private struct MambaPiece {
  let most, channels: Int
  let row, selectedRow: Int
  /// [most, C], [taps - 1 + most, D], four times [most, D], [most, R + 2 N], then the states.
  let floats: Int

  init(_ layer: PackedMambaLayer, length: Int, channels: Int) {
    most = length
    self.channels = channels
    row = (layer.inner + 15) / 16 * 16 + 16
    selectedRow = (layer.rank + 2 * layer.states + 15) / 16 * 16
    floats =
      length * (channels + selectedRow + 4 * row) + (layer.taps - 1 + length) * row + layer.table.count + 16
  }

  /// out += Wᵀ W_out (scan of the layer's branch, gated), for x [length, C].
  func run(
    _ layer: PackedMambaLayer, x: UnsafePointer<Float>, length: Int, into out: UnsafeMutablePointer<Float>,
    memory: UnsafeMutablePointer<Float>, kernels: braid_kernels
  ) {
    let past = layer.taps - 1
    let normed = memory, selected = normed + most * channels, gate = selected + most * selectedRow
    let u = gate + most * row, steps = u + most * row, y = steps + most * row
    let branch = y + most * row
    let state = branch + (past + most) * row
    state.update(repeating: 0, count: layer.table.count)
    let pieces = (length + most - 1) / most
    func start(_ piece: Int) -> Int { length * piece / pieces }
    let offsets = (0..<layer.taps).map { $0 * row }, taps = Array(0..<layer.taps)
    // What ends with n - 1, ..., 0 for every n.
    let falling = (0..<Int32(most)).reversed() as [Int32]
    for step in 0..<pieces {
      let piece = layer.reversed ? pieces - 1 - step : step
      let first = start(piece), count = start(piece + 1) - first
      kernels.norm.rms_norm(x + first * channels, count, channels, nil, layer.epsilon, normed, nil)

      // What the convolution sees beyond the piece: zeros, or what it saw last.
      let own = layer.reversed ? branch : branch + past * row
      let beyond = layer.reversed ? branch + count * row : branch
      if step == 0 {
        beyond.update(repeating: 0, count: past * row)
      } else {
        beyond.update(
          from: layer.reversed ? branch : branch + (first - start(piece - 1)) * row, count: past * row)
      }
      var end = GEMMEpilogue()
      CPU.product(layer.branch, rows: count, of: normed, stride: channels, into: own, stride: row, end)
      end.activation = .silu
      CPU.product(layer.gate, rows: count, of: normed, stride: channels, into: gate, stride: row, end)
      end.bias = layer.kernelBias.map { UnsafePointer($0.mutablePointer) }
      offsets.withUnsafeBufferPointer { offsets in
        taps.withUnsafeBufferPointer { taps in
          var run = braid_depthwise_run(
            count: count, channels: layer.inner, taps: layer.taps, row_taps: layer.taps,
            offsets: offsets.baseAddress, kernel: taps.baseAddress, in: branch, in_step: row)
          var activated = end.kernel()
          kernels.conv.depthwise(&run, layer.kernel.mutablePointer, u, row, &activated)
        }
      }

      end = GEMMEpilogue()
      CPU.product(
        layer.projection, rows: count, of: u, stride: row, into: selected, stride: selectedRow, end)
      end.bias = layer.stepBias.map { UnsafePointer($0.mutablePointer) }
      CPU.product(layer.step, rows: count, of: selected, stride: selectedRow, into: steps, stride: row, end)
      falling.withUnsafeBufferPointer { falling in
        var block = braid_scan_block()
        block.order = layer.reversed ? falling.baseAddress! + most - count : nil
        block.length = count
        block.states = layer.states
        block.softplus = 1
        block.chunk = ScanLayout.chunk
        (block.u_row, block.y_row, block.delta_row, block.bc_row) = (row, row, row, selectedRow)
        block.b = UnsafePointer(selected + layer.rank)
        block.c = block.b + layer.states
        for channel in Swift.stride(from: 0, to: layer.inner, by: layer.lanes) {
          block.channels = Swift.min(layer.lanes, layer.inner - channel)
          block.u = UnsafePointer(u + channel)
          block.delta = UnsafePointer(steps + channel)
          block.y = y + channel
          block.a = UnsafePointer(layer.table.pointer + channel * layer.states)
          block.d = UnsafePointer(layer.skip.mutablePointer + channel)
          block.state = state + channel * layer.states
          kernels.scan.forward(&block)
        }
      }
      kernels.math.binary(BRAID_BINARY_MUL, y, gate, y, count * row)

      end = GEMMEpilogue()
      end.residual = UnsafePointer(out + first * channels)
      end.residualRowStride = channels
      CPU.product(
        layer.output, rows: count, of: y, stride: row, into: out + first * channels, stride: channels, end)
    }
  }
}
