import BraidTensor
import CBraidKernels
import Foundation

/// Which rows of the rings the present frame writes, and how many rows of the window are filled.
struct StreamPlace {
  var frame = 0
  /// Frames that attention sees, the present one included.
  func filled(_ window: Int) -> Int { min(frame + 1, window) }
  func slot(_ size: Int) -> Int { frame % size }
}

/// One frame through a `StreamingBlock`: x [frequencies, channels], in place, without allocation.
final class StreamedBlock {
  private let width: Int
  private let channels: Int
  private let heads: Int
  private let window: Int
  private let kernels: UnsafePointer<braid_kernels>

  // Attention.
  private let normWeight, normBias: UnsafeMutablePointer<Float>
  private let queries: [PreparedProduct]
  private let keys, values, attended: PreparedProduct
  private let keyRing, valueRing: UnsafeMutablePointer<Float>
  // Mamba.
  private let rmsWeight: UnsafeMutablePointer<Float>
  private let inner, states, rank, taps: Int
  private let input, gate, selection, steps, output: PreparedProduct
  private let kernel, kernelBias, decay, skip: UnsafeMutablePointer<Float>
  private let convolutionRing, scanState: UnsafeMutablePointer<Float>
  private let lanes: Int
  // Feed-forward.
  private let feedWeight, feedBias: UnsafeMutablePointer<Float>
  private let up, down: PreparedProduct
  // Scratch.
  private let normed, query, key, value, mixed, sums, maxima, totals, scores: UnsafeMutablePointer<Float>
  private let u, z, y, selected, delta, hidden: UnsafeMutablePointer<Float>
  private let timeOffsets, frequencyOffsets: [Int]
  private let panel: Int
  private static let log2e: Float = 1.442_695_04

  /// - Parameter weights: the block's parameters by name.
  init(
    _ c: StreamingMambAttention.Configuration, name: String, memory: StreamMemory, weights: (String) -> Tensor
  ) {
    kernels = braid_kernels_current()
    width = c.widths[2]
    channels = c.channels
    heads = c.heads
    window = c.window
    let (width, channels, heads) = (width, channels, heads)
    let head = channels / heads
    func constants(_ key: String) -> UnsafeMutablePointer<Float> { memory.constants(weights(key).floats) }

    normWeight = constants("attention.layernorm.weight")
    normBias = constants("attention.layernorm.bias")
    let (weight, bias) = (weights("attention.attn.in_proj_weight"), weights("attention.attn.in_proj_bias"))
    // Scores in units of log 2, as the kernels want them.
    let scale = Self.log2e / Float(head).squareRoot()
    queries = (0..<heads).map {
      PreparedProduct(weight, rows: $0 * head..<($0 + 1) * head, bias: bias, scale: scale, memory: memory)
    }
    keys = PreparedProduct(weight, rows: channels..<2 * channels, bias: bias, memory: memory)
    values = PreparedProduct(weight, rows: 2 * channels..<3 * channels, bias: bias, memory: memory)
    attended = PreparedProduct(
      weights("attention.attn.out_proj.weight"), bias: weights("attention.attn.out_proj.bias"), memory: memory
    )
    keyRing = memory.state("\(name).keys", width * c.window * channels)
    valueRing = memory.state("\(name).values", width * c.window * channels)

    func mamba(_ key: String) -> Tensor { weights("time_mamba.mixer.\(key)") }
    let (inner, states) = (c.expansion * channels, c.stateSize)
    (self.inner, self.states, taps) = (inner, states, c.kernelSize)
    rank = mamba("dt_proj.weight").shape[1]
    let taps = taps
    rmsWeight = constants("time_mamba.norm.weight")
    let inputWeight = mamba("in_proj.weight")
    input = PreparedProduct(inputWeight, rows: 0..<inner, bias: nil, memory: memory)
    gate = PreparedProduct(
      inputWeight, rows: inner..<2 * inner, bias: nil, activation: BRAID_ACTIVATION_SILU, memory: memory)
    selection = PreparedProduct(mamba("x_proj.weight"), bias: nil, memory: memory)
    steps = PreparedProduct(mamba("dt_proj.weight"), bias: mamba("dt_proj.bias"), memory: memory)
    output = PreparedProduct(mamba("out_proj.weight"), bias: nil, memory: memory)
    let kernelValues = mamba("conv1d.weight").floats
    kernel = memory.constants(
      (0..<taps).flatMap { tap in (0..<inner).map { kernelValues[$0 * taps + tap] } })
    kernelBias = memory.constants(mamba("conv1d.bias").floats)
    skip = memory.constants(mamba("D").floats)
    lanes = Int(kernels.pointee.scan.lanes)
    let lanes = lanes
    let laneBlocks = (inner + lanes - 1) / lanes
    func place(_ d: Int, _ n: Int) -> Int { (d / lanes * states + n) * lanes + d % lanes }
    let logs = mamba("A_log").floats
    decay = memory.floats(laneBlocks * states * lanes)
    for d in 0..<inner {
      for n in 0..<states { decay[place(d, n)] = -exp(logs[d * states + n]) * Self.log2e }
    }
    convolutionRing = memory.state("\(name).convolution", taps * width * inner)
    scanState = memory.state(
      "\(name).scan", width * inner * states,
      order: (0..<width).flatMap { f in
        (0..<inner).flatMap { d in (0..<states).map { f * laneBlocks * states * lanes + place(d, $0) } }
      })

    feedWeight = constants("feed_forward.norm.weight")
    feedBias = constants("feed_forward.norm.bias")
    up = PreparedProduct(
      weights("feed_forward.up.weight"), bias: weights("feed_forward.up.bias"),
      activation: BRAID_ACTIVATION_SILU, memory: memory)
    down = PreparedProduct(
      weights("feed_forward.down.weight"), bias: weights("feed_forward.down.bias"), memory: memory)

    panel = Int(kernels.pointee.attention.panel)
    let padded = (head + panel - 1) / panel * panel
    normed = memory.floats(width * channels)
    query = memory.floats(width * channels)
    key = memory.floats(width * channels)
    value = memory.floats(width * channels)
    mixed = memory.floats(width * channels)
    sums = memory.floats(width * heads * padded)
    maxima = memory.floats(width * heads)
    totals = memory.floats(width * heads)
    scores = memory.floats(width * Int(BRAID_ATTENTION_KEYS))
    u = memory.floats(width * inner)
    z = memory.floats(width * inner)
    y = memory.floats(width * inner)
    delta = memory.floats(width * inner)
    selected = memory.floats(width * (rank + 2 * states))
    hidden = memory.floats(width * up.outputs)
    timeOffsets = (0..<width * heads).map { $0 * head }
    frequencyOffsets = (0..<heads * width).map { $0 % width * channels + $0 / width * head }
  }

  func step(_ x: UnsafeMutablePointer<Float>, at place: StreamPlace) {
    attendOverTime(x, place)
    scan(x, place)
    attendOverFrequency(x)
    kernels.pointee.norm.layer_norm(
      x, width, channels, feedWeight, feedBias, StreamingBlock.normEpsilon, normed, nil, nil)
    up(rows: width, normed, row: channels, to: hidden, row: up.outputs)
    down(
      rows: width, hidden, row: up.outputs, to: x, row: channels, residual: x, residualRow: channels)
  }

  // MARK: Attention

  /// Normalises x and makes the queries, head by head [heads, width, head].
  private func prepareQueries(_ x: UnsafeMutablePointer<Float>) {
    kernels.pointee.norm.layer_norm(
      x, width, channels, normWeight, normBias, StreamingBlock.normEpsilon, normed, nil, nil)
    let head = channels / heads
    for h in 0..<heads {
      queries[h](rows: width, normed, row: channels, to: query + h * width * head, row: head)
    }
  }

  /// A call of the attention kernel for one key head, its running values from place `row` on.
  private func call(rows: Int, keys n: Int, row: Int) -> braid_attention_few {
    let head = channels / heads
    var few = braid_attention_few()
    few.rows = rows
    few.n = n
    few.d = head
    few.dv = head
    few.key_stride = channels
    few.value_stride = channels
    few.first = 1
    few.maximum = maxima + row
    few.total = totals + row
    few.output = sums + row * ((head + panel - 1) / panel * panel)
    few.scratch = scores
    return few
  }

  /// x += W of the attended values, row r of them at `offsets[r]`.
  private func finish(_ x: UnsafeMutablePointer<Float>, _ offsets: [Int]) {
    kernels.pointee.attention.finish(
      sums, maxima, totals, width * heads, channels / heads, mixed, offsets, nil)
    attended(rows: width, mixed, row: channels, to: x, row: channels, residual: x, residualRow: channels)
  }

  private func attendOverTime(_ x: UnsafeMutablePointer<Float>, _ place: StreamPlace) {
    let (head, row) = (channels / heads, window * channels)
    let slot = place.slot(window) * channels
    prepareQueries(x)
    keys(rows: width, normed, row: channels, to: keyRing + slot, row: row)
    values(rows: width, normed, row: channels, to: valueRing + slot, row: row)
    // The ring holds what the frame sees and nothing else; the order of keys does not matter.
    for f in 0..<width {
      for h in 0..<heads {
        var few = call(rows: 1, keys: place.filled(window), row: f * heads + h)
        few.queries = UnsafePointer(query + (h * width + f) * head)
        few.keys = UnsafePointer(keyRing + f * row + h * head)
        few.values = UnsafePointer(valueRing + f * row + h * head)
        kernels.pointee.attention.forward_few(&few)
      }
    }
    finish(x, timeOffsets)
  }

  private func attendOverFrequency(_ x: UnsafeMutablePointer<Float>) {
    let head = channels / heads
    prepareQueries(x)
    keys(rows: width, normed, row: channels, to: key, row: channels)
    values(rows: width, normed, row: channels, to: value, row: channels)
    for h in 0..<heads {
      var few = call(rows: width, keys: width, row: h * width)
      few.queries = UnsafePointer(query + h * width * head)
      few.keys = UnsafePointer(key + h * head)
      few.values = UnsafePointer(value + h * head)
      kernels.pointee.attention.forward_few(&few)
    }
    finish(x, frequencyOffsets)
  }

  // MARK: Mamba

  private func scan(_ x: UnsafeMutablePointer<Float>, _ place: StreamPlace) {
    let (math, count) = (kernels.pointee.math, width * inner)
    kernels.pointee.norm.rms_norm(x, width, channels, rmsWeight, StreamingBlock.normEpsilon, normed, nil)
    input(rows: width, normed, row: channels, to: convolutionRing + place.slot(taps) * count, row: inner)
    gate(rows: width, normed, row: channels, to: z, row: inner)
    for f in 0..<width {
      let row = u + f * inner
      row.update(from: kernelBias, count: inner)
      for tap in 0..<taps {
        // The last tap belongs to the present frame.
        let past = convolutionRing + (place.slot(taps) + 1 + tap) % taps * count + f * inner
        math.multiply_add(past, kernel + tap * inner, row, row, inner)
      }
    }
    math.unary(BRAID_UNARY_SILU, u, u, count, 0, 0)
    selection(rows: width, u, row: inner, to: selected, row: selection.outputs)
    steps(rows: width, selected, row: selection.outputs, to: delta, row: inner)
    let laneBlocks = (inner + lanes - 1) / lanes
    var block = braid_scan_block()
    block.length = 1
    block.states = states
    block.softplus = 1
    block.chunk = 1
    for f in 0..<width {
      block.b = UnsafePointer(selected + f * selection.outputs + rank)
      block.c = UnsafePointer(selected + f * selection.outputs + rank + states)
      for part in 0..<laneBlocks {
        let at = f * inner + part * lanes
        block.u = UnsafePointer(u + at)
        block.delta = UnsafePointer(delta + at)
        block.y = y + at
        block.channels = min(lanes, inner - part * lanes)
        block.a = UnsafePointer(decay + part * states * lanes)
        block.d = UnsafePointer(skip + part * lanes)
        block.state = scanState + (f * laneBlocks + part) * states * lanes
        kernels.pointee.scan.forward(&block)
      }
    }
    math.binary(BRAID_BINARY_MUL, y, z, y, count)
    output(rows: width, y, row: inner, to: x, row: channels, residual: x, residualRow: channels)
  }
}
