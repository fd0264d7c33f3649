import Foundation

extension CPU {
  /// The lines of a gather: position by position along `axis`, whose index runs over `count` of `size`.
  private struct Lines {
    let outer, count, inner, size: Int
    /// Where outer index o and inner index j of the positions stand in the larger tensor (axis index 0).
    let outerStart: [Int]
    let innerStart: [Int]
    let stride: Int

    init(positions: Shape, of shape: Shape, axis: Int) {
      count = positions[axis]
      size = shape[axis]
      let strides = shape.contiguousStrides
      stride = strides[axis]
      func starts(_ axes: Range<Int>) -> [Int] {
        axes.reduce([0]) { starts, axis in
          starts.flatMap { start in (0..<positions[axis]).map { start + $0 * strides[axis] } }
        }
      }
      outerStart = starts(0..<axis)
      innerStart = starts(axis + 1..<shape.rank)
      outer = outerStart.count
      inner = innerStart.count
    }

    @inline(__always) func checked(_ position: Int64, _ name: StaticString) -> Int {
      precondition(position >= 0 && position < size, "\(name): index \(position) is outside 0..<\(size)")
      return Int(position) * stride
    }
  }

  static func gather(_ source: Tensor, axis: Int, _ positions: Tensor, into target: Tensor) {
    let lines = Lines(positions: positions.shape, of: source.shape, axis: axis)
    withExtendedLifetime((source.storage, target.storage)) {
      switch source.dtype.byteCount {
      case 1: gather(source, lines, positions, target, UInt8.self)
      case 2: gather(source, lines, positions, target, UInt16.self)
      case 4: gather(source, lines, positions, target, UInt32.self)
      default: gather(source, lines, positions, target, UInt64.self)
      }
    }
  }

  private static func gather<T: BitwiseCopyable>(
    _ source: Tensor, _ lines: Lines, _ positions: Tensor, _ target: Tensor, _: T.Type
  ) {
    let from = source.storage.pointer.assumingMemoryBound(to: T.self) + source.offset
    let to = target.storage.pointer.assumingMemoryBound(to: T.self)
    positions.read(as: Int64.self) { index in
      parallelRanges(lines.outer * lines.count, minimum: Swift.max(1, 8192 / Swift.max(1, lines.inner))) {
        for row in $0 {
          let start = lines.outerStart[row / lines.count]
          let (at, out) = (index + row * lines.inner, to + row * lines.inner)
          for j in 0..<lines.inner {
            out[j] = from[start + lines.innerStart[j] + lines.checked(at[j], "gathered")]
          }
        }
      }
    }
  }

  /// target[positions] += source along `axis`. Lines do not meet, so each is walked in order by one thread.
  static func scatterAdd(_ source: Tensor, axis: Int, _ positions: Tensor, into target: Tensor) {
    let lines = Lines(positions: positions.shape, of: target.shape, axis: axis)
    let parts = lines.outer > 1 ? 1 : Swift.max(1, Swift.min(16, lines.inner / 64))
    source.read { x in
      positions.read(as: Int64.self) { index in
        target.overwrite(as: Float.self) { y in
          let work = Swift.max(1, lines.count * lines.inner / parts)
          parallelRanges(lines.outer * parts, minimum: Swift.max(1, 8192 / work)) { tasks in
            for task in tasks {
              let (o, part) = task.quotientAndRemainder(dividingBy: parts)
              let columns = lines.inner * part / parts..<lines.inner * (part + 1) / parts
              for row in o * lines.count..<(o + 1) * lines.count {
                let (at, from) = (index + row * lines.inner, x + row * lines.inner)
                for j in columns {
                  let place = lines.innerStart[j] + lines.checked(at[j], "scatterAdded")
                  y[lines.outerStart[o] + place] += from[j]
                }
              }
            }
          }
        }
      }
    }
  }

  /// target[.., i, ..] = source[.., positions[i], ..]
  static func select(_ source: Tensor, axis: Int, _ positions: Tensor, into target: Tensor) {
    let size = source.shape[axis]
    let count = positions.elementCount
    let outer = source.shape.dimensions[..<axis].reduce(1, *)
    let bytes = source.shape.dimensions[(axis + 1)...].reduce(source.dtype.byteCount, *)
    positions.read(as: Int64.self) { index in
      for i in 0..<count {
        precondition(
          index[i] >= 0 && index[i] < size, "indexSelected: index \(index[i]) is outside 0..<\(size)")
      }
      withExtendedLifetime((source.storage, target.storage)) {
        let from = source.storage.pointer + source.offset * source.dtype.byteCount
        let to = target.storage.pointer
        parallelRanges(outer * count, minimum: Swift.max(1, 65_536 / Swift.max(1, bytes))) { rows in
          for row in rows {
            let (o, i) = row.quotientAndRemainder(dividingBy: count)
            memcpy(to + row * bytes, from + (o * size + Int(index[i])) * bytes, bytes)
          }
        }
      }
    }
  }

  /// target[.., positions[i], ..] += source[.., i, ..]. A task owns a range of target slices and takes their
  /// sources in order.
  static func addSelected(_ source: Tensor, axis: Int, _ positions: Tensor, into target: Tensor) {
    let size = target.shape[axis]
    let count = positions.elementCount
    let outer = target.shape.dimensions[..<axis].reduce(1, *)
    let inner = target.shape.dimensions[(axis + 1)...].reduce(1, *)
    let add = kernels.pointee.math.axpy!
    source.read { x in
      positions.read(as: Int64.self) { index in
        target.overwrite(as: Float.self) { y in
          let work = Swift.max(1, count * inner)
          let parts = outer > 1 || inner < 8 ? 1 : Swift.max(1, Swift.min(size, 8, work / 8192))
          parallelRanges(outer * parts, minimum: Swift.max(1, 8192 * parts / work)) { tasks in
            for task in tasks {
              let (o, part) = task.quotientAndRemainder(dividingBy: parts)
              let owned = size * part / parts..<size * (part + 1) / parts
              for i in 0..<count {
                let at = Int(index[i])
                guard owned.contains(at) else { continue }
                let from = x + (o * count + i) * inner
                let to = y + (o * size + at) * inner
                if inner < 16 {
                  for j in 0..<inner { to[j] += from[j] }
                } else {
                  add(1, from, to, inner)
                }
              }
            }
          }
        }
      }
    }
  }
}
