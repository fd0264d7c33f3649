import CBraidKernels
import Synchronization

/// Softmax attention inside square windows of a projected image: [B, H, W, 3 C] to [B, H, W, C].
///
/// The last axis holds queries, keys and values, each [heads, C / heads]. Inside every window (of window x window
/// pixels; it divides H and W) the output is softmax(scale q k^T + bias) v. With a shift the windows lie further down
/// and right, cyclically, and scores between pixels of different sides of the seam get -100, as in Swin (Liu et al.
/// 2021) and HAT. No array of all scores is made, in the gradient neither.
///
/// - Parameters:
///   - shift: pixels that the windows are shifted down (y) and right (x), each less than `window`.
///   - biasTable: [(2 window - 1)^2, heads], learnt biases by relative position; see `relativePositionBias`.
///   - scale: 1 / sqrt(C / heads) where nil.
public func windowAttention(
  _ qkv: Tensor, heads: Int, window: Int, shift: (y: Int, x: Int) = (0, 0), biasTable: Tensor? = nil,
  scale: Float? = nil
) -> Tensor {
  windowAttention(
    qkv, heads: heads, window: window, shift: shift,
    bias: biasTable.map { relativePositionBias($0, window: window) },
    scale: scale)
}

/// As `windowAttention` with a bias table, with a dense bias: [heads, window^2, window^2].
public func windowAttention(
  _ qkv: Tensor, heads: Int, window: Int, shift: (y: Int, x: Int) = (0, 0), bias: Tensor?, scale: Float? = nil
) -> Tensor {
  windowed("windowAttention", qkv, heads, window, window, shift, bias, scale)
}

/// As `windowAttention`, with keys and values from larger windows that overlap: HAT's overlapping cross-attention.
///
/// The keys of a window are the overlapWindow x overlapWindow pixels around it. Beyond the image keys and values are
/// zeros that take part in the softmax.
///
/// - Parameters:
///   - overlapWindow: at least `window`, by an even number of pixels.
///   - biasTable: [(window + overlapWindow - 1)^2, heads]; see `overlappingPositionBias`.
public func overlappingWindowAttention(
  _ qkv: Tensor, heads: Int, window: Int, overlapWindow: Int, biasTable: Tensor? = nil, scale: Float? = nil
) -> Tensor {
  overlappingWindowAttention(
    qkv, heads: heads, window: window, overlapWindow: overlapWindow,
    bias: biasTable.map { overlappingPositionBias($0, window: window, overlapWindow: overlapWindow) },
    scale: scale)
}

/// As `overlappingWindowAttention` with a bias table, with a dense bias: [heads, window^2, overlapWindow^2].
public func overlappingWindowAttention(
  _ qkv: Tensor, heads: Int, window: Int, overlapWindow: Int, bias: Tensor?, scale: Float? = nil
) -> Tensor {
  windowed("overlappingWindowAttention", qkv, heads, window, overlapWindow, (0, 0), bias, scale)
}

private func windowed(
  _ name: StaticString, _ qkv: Tensor, _ heads: Int, _ window: Int, _ keyWindow: Int,
  _ shift: (y: Int, x: Int),
  _ bias: Tensor?, _ scale: Float?
) -> Tensor {
  let shape = qkv.shape
  precondition(
    shape.rank == 4 && heads > 0 && shape[3] % (3 * heads) == 0,
    "\(name): \(shape) does not hold queries, keys and values of \(heads) heads")
  precondition(
    window > 0 && shape[1] % window == 0 && shape[2] % window == 0,
    "\(name): windows of \(window) do not tile \(shape)")
  precondition(
    keyWindow >= window && (keyWindow - window) % 2 == 0 && (0..<window).contains(shift.y)
      && (0..<window).contains(shift.x), "\(name): window \(window), key window \(keyWindow), shift \(shift)")
  let geometry = WindowGeometry(
    batch: shape[0], height: shape[1], width: shape[2], heads: heads, headWidth: shape[3] / (3 * heads),
    window: window, keyWindow: keyWindow, shiftY: shift.y, shiftX: shift.x)
  precondition(
    bias == nil || bias!.shape == [heads, geometry.queries, geometry.keys],
    "\(name): a bias of \(bias!.shape), not \([heads, geometry.queries, geometry.keys])")
  let channels = geometry.channels
  let scale = scale ?? 1 / Float(geometry.headWidth).squareRoot()
  let input = qkv.detached.cast(to: .float32).contiguous()
  let added = bias?.detached.cast(to: .float32).contiguous()
  let keeps = (qkv.requiresGradient || bias?.requiresGradient ?? false) && Autograd.isRecording
  let lse = keeps ? Tensor.uninitialized([heads, geometry.windows, geometry.queries]) : nil
  func rows(_ base: UnsafePointer<Float>, _ part: Int) -> PixelRows {
    PixelRows(base: base + part * channels, stride: 3 * channels)
  }
  let output = input.read { qkv in
    CPU.reading(added) { added in
      Tensor.build([shape[0], shape[1], shape[2], channels]) { out in
        CPU.windowAttention(
          geometry, queries: rows(qkv, 0), keys: rows(qkv, 1), values: rows(qkv, 2), bias: added,
          scale: scale,
          output: out, lse: lse?.mutablePointer)
      }
    }
  }
  return Tensor.record(name, output.cast(to: qkv.dtype), inputs: [qkv] + [bias].compactMap { $0 }) {
    gradient, needed in
    let dqkv = Tensor.zeros(input.shape)
    let dbias = needed.count > 1 && needed[1] ? Tensor.uninitialized(added!.shape) : nil
    input.read { qkv in
      gradient.read { gradient in
        CPU.reading(added) { added in
          let d = dqkv.mutablePointer
          CPU.windowAttentionGradient(
            geometry, queries: rows(qkv, 0), keys: rows(qkv, 1), values: rows(qkv, 2), bias: added,
            scale: scale,
            output: output.mutablePointer, lse: lse!.mutablePointer, gradient: gradient, dq: d,
            dk: d + channels, dv: d + 2 * channels, dbias: dbias?.mutablePointer)
        }
      }
    }
    return needed.count > 1 ? [dqkv, dbias] : [dqkv]
  }
}

/// Learnt biases of relative positions as a dense array [heads, queries, keys], from a table [(2 window - 1)^2, heads].
///
/// For positions i and j, row-major in the window, it is the table's entry
/// (dy + window - 1)(2 window - 1) + dx + window - 1 with (dy, dx) = position i - position j. The result is kept where
/// the table is constant and nothing is recorded.
public func relativePositionBias(_ table: Tensor, window: Int) -> Tensor {
  let side = 2 * window - 1
  return positionBias("relativePositionBias", table, queries: window, keys: window, entries: side * side) {
    (-$0 + window - 1) * side - $1 + window - 1
  }
}

/// As `relativePositionBias` for keys of an overlapping window, from a table [(window + overlapWindow - 1)^2, heads].
///
/// For query i and key j it is the entry (dy + s)(window + overlapWindow - 1) + dx + s with (dy, dx) = position j -
/// position i and s = window - overlapWindow + 1, negative ones counted from the table's end, as published for HAT.
public func overlappingPositionBias(_ table: Tensor, window: Int, overlapWindow: Int) -> Tensor {
  let side = window + overlapWindow - 1
  let start = window - overlapWindow + 1
  return positionBias(
    "overlappingPositionBias", table, queries: window, keys: overlapWindow, entries: side * side
  ) { dy, dx in
    let entry = (dy + start) * side + dx + start
    return entry < 0 ? entry + side * side : entry
  }
}

/// A table's entries spread over pairs of positions; `entry` gives the one for a key's position less a query's.
private func positionBias(
  _ name: StaticString, _ table: Tensor, queries: Int, keys: Int, entries: Int,
  _ entry: (_ dy: Int, _ dx: Int) -> Int
) -> Tensor {
  precondition(
    table.rank == 2 && table.shape[0] == entries,
    "\(name): a table of \(table.shape), not of \(entries) entries")
  let heads = table.shape[1]
  let (rows, columns) = (queries * queries, keys * keys)
  let index = PositionIndex.of(queries: queries, keys: keys, name: name) {
    (0..<rows).flatMap { i in
      (0..<columns).map { j in Int32(entry(j / keys - i / queries, j % keys - i % queries)) }
    }
  }
  let count = rows * columns
  func make() -> Tensor {
    table.read { table in
      Tensor.build([heads, rows, columns]) { out in
        index.withUnsafeBufferPointer { index in
          parallelFor(heads) { head in
            for pair in 0..<count { out[head * count + pair] = table[Int(index[pair]) * heads + head] }
          }
        }
      }
    }
  }
  let bias =
    table.requiresGradient && Autograd.isRecording
    ? make()
    : table.storage.derived("\(name) \(table.offset) \(table.strides) \(table.shape) \(queries) \(keys)") {
      KeptBias(bias: make())
    }.bias
  return Tensor.record(name, bias, inputs: [table]) { gradient, _ in
    let sums = Tensor.zeros([heads, entries])
    gradient.read { g in
      let out = sums.mutablePointer
      index.withUnsafeBufferPointer { index in
        parallelFor(heads) { head in
          for pair in 0..<count { out[head * entries + Int(index[pair])] += g[head * count + pair] }
        }
      }
    }
    return [sums.transposed(0, 1)]
  }
}

/// The table entries of all pairs of positions, made once for each size of window.
private enum PositionIndex {
  private struct Key: Hashable {
    var name: String
    var queries, keys: Int
  }
  private static let kept = Mutex<[Key: [Int32]]>([:])

  static func of(queries: Int, keys: Int, name: StaticString, make: () -> [Int32]) -> [Int32] {
    let key = Key(name: "\(name)", queries: queries, keys: keys)
    if let index = kept.withLock({ $0[key] }) { return index }
    let index = make()
    kept.withLock { $0[key] = index }
    return index
  }
}

private final class KeptBias: Sendable {
  let bias: Tensor
  init(bias: Tensor) { self.bias = bias }
}
