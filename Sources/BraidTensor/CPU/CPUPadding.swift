extension CPU {
  /// Writes `source` and its border into `target`; `axes` (rising) are those that grow, by `before` at their start.
  static func pad(_ source: Tensor, into target: Tensor, axes: [Int], before: [Int], mode: PaddingMode) {
    guard target.elementCount > 0 else { return }
    var constant: Float = 0
    if case .constant(let value) = mode { constant = value }
    let fill = Tensor(constant).cast(to: source.dtype)
    withExtendedLifetime((source.storage, target.storage, fill.storage)) {
      switch source.dtype.byteCount {
      case 1: pad(source, target, fill, axes, before, mode, UInt8.self)
      case 2: pad(source, target, fill, axes, before, mode, UInt16.self)
      case 4: pad(source, target, fill, axes, before, mode, UInt32.self)
      default: pad(source, target, fill, axes, before, mode, UInt64.self)
      }
    }
  }

  private static func pad<T: BitwiseCopyable>(
    _ source: Tensor, _ target: Tensor, _ fill: Tensor, _ axes: [Int], _ before: [Int], _ mode: PaddingMode,
    _: T.Type
  ) {
    let from = UnsafePointer(source.storage.pointer.assumingMemoryBound(to: T.self) + source.offset)
    let to = target.storage.pointer.assumingMemoryBound(to: T.self)
    let value = fill.storage.pointer.assumingMemoryBound(to: T.self).pointee
    // For every padded axis the source index of each of its indices, -1 for the constant.
    let maps = (0..<source.rank).map { axis -> [Int] in
      (0..<target.shape[axis]).map { mode.source($0 - before[axis], size: source.shape[axis]) ?? -1 }
    }
    let last = axes.last!
    let strides = source.shape.contiguousStrides
    let inner = strides[last]
    let length = target.shape[last]
    let lastMap = maps[last]
    let rows = target.shape.dimensions[..<last].reduce(1, *)
    // A task is a part of one row of the last padded axis, so that a single long row still uses all threads.
    let part = Swift.max(1, Swift.min(length, 65_536 / Swift.max(1, inner)))
    let parts = (length + part - 1) / part
    parallelRanges(rows * parts, minimum: Swift.max(1, 32_768 / Swift.max(1, part * inner))) { tasks in
      for task in tasks {
        let (row, piece) = task.quotientAndRemainder(dividingBy: parts)
        var rest = row
        var start = 0
        var inside = true
        for axis in stride(from: last - 1, through: 0, by: -1) {
          let (quotient, index) = rest.quotientAndRemainder(dividingBy: target.shape[axis])
          let at = maps[axis][index]
          if at < 0 { inside = false }
          start += at * strides[axis]
          rest = quotient
        }
        let out = to + row * length * inner
        var j = piece * part
        let end = Swift.min(length, j + part)
        if !inside {
          (out + j * inner).update(repeating: value, count: (end - j) * inner)
          continue
        }
        while j < end {
          let first = lastMap[j]
          var run = 1
          if first < 0 {
            while j + run < end && lastMap[j + run] < 0 { run += 1 }
            (out + j * inner).update(repeating: value, count: run * inner)
          } else {
            while j + run < end && lastMap[j + run] == first + run { run += 1 }
            (out + j * inner).update(from: from + start + first * inner, count: run * inner)
          }
          j += run
        }
      }
    }
  }

  /// The transpose of padding one axis: every element of the border is added where it was taken from.
  static func foldPadding(
    _ gradient: Tensor, axis: Int, before: Int, size: Int, mode: PaddingMode
  ) -> Tensor {
    var dimensions = gradient.shape.dimensions
    let length = dimensions[axis]
    dimensions[axis] = size
    let outer = dimensions[..<axis].reduce(1, *)
    let inner = dimensions[(axis + 1)...].reduce(1, *)
    let map = (0..<length).map { mode.source($0 - before, size: size)! }
    let part = Swift.max(1, Swift.min(inner, 4096))
    let parts = (inner + part - 1) / part
    return gradient.read { g in
      Tensor.build(Shape(dimensions)) { out in
        let work = Swift.max(1, length * part)
        parallelRanges(outer * parts, minimum: Swift.max(1, 32_768 / work)) { tasks in
          for task in tasks {
            let (block, piece) = task.quotientAndRemainder(dividingBy: parts)
            let start = piece * part
            let count = Swift.min(part, inner - start)
            let from = g + block * length * inner + start
            let to = out + block * size * inner + start
            if count == inner {
              to.update(from: from + before * inner, count: size * inner)
            } else {
              for i in 0..<size { (to + i * inner).update(from: from + (before + i) * inner, count: count) }
            }
            for j in 0..<length where j < before || j >= before + size {
              let x = from + j * inner
              let y = to + map[j] * inner
              for i in 0..<count { y[i] += x[i] }
            }
          }
        }
      }
    }
  }
}
