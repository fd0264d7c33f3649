/// The operations of the CPU, on raw memory.
enum CPU {}

extension CPU {
  /// Copies the elements of `source` into `target`, views of one shape and type.
  static func copyStrided(from source: Tensor, to target: Tensor) {
    precondition(
      source.shape == target.shape && source.dtype == target.dtype,
      "copy: \(source.dtype.rawValue)\(source.shape) into \(target.dtype.rawValue)\(target.shape)")
    guard source.elementCount > 0 else { return }
    withExtendedLifetime((source.storage, target.storage)) {
      switch source.dtype.byteCount {
      case 1: copy(source, target, UInt8.self)
      case 2: copy(source, target, UInt16.self)
      case 4: copy(source, target, UInt32.self)
      default: copy(source, target, UInt64.self)
      }
    }
  }

  private struct Axis { var size, from, to: Int }

  /// Copies `rows.size` runs of `count` elements for every index of the outer axes.
  private static func copyRows<T>(
    _ from: UnsafePointer<T>, _ to: UnsafeMutablePointer<T>, outer: [Axis], rows: Axis, count: Int
  ) {
    let math = kernels.pointee.math
    let outerCount = outer.reduce(1) { $0 * $1.size }
    let from = UnsafeRawPointer(from).assumingMemoryBound(to: Float.self)
    let to = UnsafeMutableRawPointer(to).assumingMemoryBound(to: Float.self)
    parallelRanges(outerCount * rows.size, minimum: Swift.max(1, 16_384 / Swift.max(1, count))) { range in
      var row = range.lowerBound
      while row < range.upperBound {
        var (rest, first) = row.quotientAndRemainder(dividingBy: rows.size)
        let piece = Swift.min(rows.size - first, range.upperBound - row)
        var a = from + first * rows.from
        var b = to + first * rows.to
        for axis in outer.reversed() {
          let (quotient, remainder) = rest.quotientAndRemainder(dividingBy: axis.size)
          a += remainder * axis.from
          b += remainder * axis.to
          rest = quotient
        }
        math.copy_rows(a, rows.from, b, rows.to, piece, count)
        row += piece
      }
    }
  }

  private static func copy<T: BitwiseCopyable>(_ source: Tensor, _ target: Tensor, _: T.Type) {
    let from = UnsafePointer(source.storage.pointer.assumingMemoryBound(to: T.self) + source.offset)
    let to = target.storage.pointer.assumingMemoryBound(to: T.self) + target.offset

    // Axes that lie behind one another in both become one; axes of size 1 vanish.
    var axes: [Axis] = []
    for i in 0..<source.rank where source.shape[i] != 1 {
      let axis = Axis(size: source.shape[i], from: source.strides[i], to: target.strides[i])
      if let last = axes.last, last.from == axis.from * axis.size, last.to == axis.to * axis.size {
        axes[axes.count - 1] = Axis(size: last.size * axis.size, from: axis.from, to: axis.to)
      } else {
        axes.append(axis)
      }
    }
    let inner = axes.popLast() ?? Axis(size: 1, from: 1, to: 1)
    // With a transposed inner axis, the axis whose source stride is 1 is walked in blocks alongside.
    var across = Axis(size: 1, from: 0, to: 0)
    if inner.from != 1, let index = axes.firstIndex(where: { $0.from == 1 }) {
      across = axes.remove(at: index)
    }
    // Rows of 4-byte elements, one axis of them at a time.
    if T.self == UInt32.self, across.size == 1, inner.from == 1, inner.to == 1, inner.size <= 4096,
      let rows = axes.popLast()
    {
      return copyRows(from, to, outer: axes, rows: rows, count: inner.size)
    }
    let outer = axes
    let count = outer.reduce(1) { $0 * $1.size }
    let work = inner.size * across.size

    @inline(__always) func run(_ index: Int, _ acrossRange: Range<Int>) {
      var rest = index
      var a = from
      var b = to
      for axis in outer.reversed() {
        let (quotient, remainder) = rest.quotientAndRemainder(dividingBy: axis.size)
        a += remainder * axis.from
        b += remainder * axis.to
        rest = quotient
      }
      if across.size == 1 {
        if inner.from == 1 && inner.to == 1 {
          b.update(from: a, count: inner.size)
        } else {
          for i in 0..<inner.size { b[i * inner.to] = a[i * inner.from] }
        }
        return
      }
      let block = 16
      for j0 in stride(from: acrossRange.lowerBound, to: acrossRange.upperBound, by: block) {
        let j1 = Swift.min(j0 + block, acrossRange.upperBound)
        for i0 in stride(from: 0, to: inner.size, by: block) {
          let i1 = Swift.min(i0 + block, inner.size)
          for j in j0..<j1 {
            let x = a + j * across.from
            let y = b + j * across.to
            for i in i0..<i1 { y[i * inner.to] = x[i * inner.from] }
          }
        }
      }
    }

    let total = count * work
    if total < 32_768 {
      for index in 0..<count { run(index, 0..<across.size) }
    } else if count > 1 {
      parallelRanges(count, minimum: Swift.max(1, 16_384 / Swift.max(work, 1))) { range in
        for index in range { run(index, 0..<across.size) }
      }
    } else if across.size > 1 {
      parallelRanges(across.size, minimum: Swift.max(16, 16_384 / inner.size)) { run(0, $0) }
    } else if inner.from == 1 && inner.to == 1 {
      parallelRanges(inner.size, minimum: 65_536) { range in
        (to + range.lowerBound).update(from: from + range.lowerBound, count: range.count)
      }
    } else {
      run(0, 0..<1)
    }
  }
}
