import CBraidKernels

extension CPU {
  /// The kernels of this machine, or of the level that BRAID_CPU asks for.
  static var kernels: UnsafePointer<braid_kernels> { braid_kernels_current() }

  /// y = a op b, with a and b broadcast to the shape of y (which `Shape.broadcast` gave).
  static func binary(_ operation: braid_binary_op, _ a: Tensor, _ b: Tensor, _ shape: Shape) -> Tensor {
    let a = a.cast(to: .float32)
    let b = b.cast(to: .float32)
    return Tensor.build(shape) { y in
      withExtendedLifetime((a.storage, b.storage)) { binary(operation, a, b, shape, y) }
    }
  }

  private struct Axis { var size, a, b: Int }

  private static func binary(
    _ operation: braid_binary_op, _ a: Tensor, _ b: Tensor, _ shape: Shape, _ y: UnsafeMutablePointer<Float>
  ) {
    guard shape.elementCount > 0 else { return }
    var a = a.broadcast(to: shape)
    var b = b.broadcast(to: shape)
    func isStrided(_ tensor: Tensor) -> Bool {
      guard let inner = (0..<shape.rank).last(where: { shape[$0] != 1 }) else { return false }
      return tensor.strides[inner] > 1 || tensor.strides[inner] < 0
    }
    // A transposed operand is copied once; the kernels want neighbours or one repeated number.
    if isStrided(a) { a = a.contiguous() }
    if isStrided(b) { b = b.contiguous() }
    var axes: [Axis] = []
    for i in 0..<shape.rank where shape[i] != 1 {
      let axis = Axis(size: shape[i], a: a.strides[i], b: b.strides[i])
      if let last = axes.last, last.a == axis.a * axis.size, last.b == axis.b * axis.size {
        axes[axes.count - 1] = Axis(size: last.size * axis.size, a: axis.a, b: axis.b)
      } else {
        axes.append(axis)
      }
    }
    let inner = axes.popLast() ?? Axis(size: 1, a: 1, b: 1)
    let outer = axes
    let rows = outer.reduce(1) { $0 * $1.size }
    let math = kernels.pointee.math
    withExtendedLifetime((a.storage, b.storage)) {
      let pa = UnsafePointer(a.storage.pointer.assumingMemoryBound(to: Float.self)) + a.offset
      let pb = UnsafePointer(b.storage.pointer.assumingMemoryBound(to: Float.self)) + b.offset
      @inline(__always) func run(
        _ xa: UnsafePointer<Float>, _ xb: UnsafePointer<Float>, _ out: UnsafeMutablePointer<Float>, _ n: Int
      ) {
        if inner.a == 0 && inner.b == 0 {
          math.binary(operation, xa, xb, out, 1)
          out.update(repeating: out[0], count: n)
        } else if inner.b == 0 {
          math.binary_scalar(operation, xa, xb.pointee, 0, out, n)
        } else if inner.a == 0 {
          math.binary_scalar(operation, xb, xa.pointee, 1, out, n)
        } else {
          math.binary(operation, xa, xb, out, n)
        }
      }
      if rows == 1 {
        parallelRanges(inner.size, minimum: 32_768) { range in
          run(
            pa + range.lowerBound * inner.a, pb + range.lowerBound * inner.b, y + range.lowerBound,
            range.count)
        }
        return
      }
      parallelRanges(rows, minimum: Swift.max(1, 32_768 / inner.size)) { range in
        for row in range {
          var rest = row
          var offsetA = 0
          var offsetB = 0
          for axis in outer.reversed() {
            let (quotient, remainder) = rest.quotientAndRemainder(dividingBy: axis.size)
            offsetA += remainder * axis.a
            offsetB += remainder * axis.b
            rest = quotient
          }
          run(pa + offsetA, pb + offsetB, y + row * inner.size, inner.size)
        }
      }
    }
  }

  /// y = f(x).
  static func unary(_ operation: braid_unary_op, _ x: Tensor, _ p0: Float = 0, _ p1: Float = 0) -> Tensor {
    let count = x.elementCount
    let math = kernels.pointee.math
    return x.read { px in
      Tensor.build(x.shape) { y in
        parallelRanges(count, minimum: 16_384) { range in
          math.unary(operation, px + range.lowerBound, y + range.lowerBound, range.count, p0, p1)
        }
      }
    }
  }

  /// dx = dy f'(x), where y = f(x).
  static func unaryGradient(
    _ operation: braid_unary_op, _ x: Tensor, _ y: Tensor, _ dy: Tensor, _ p0: Float = 0, _ p1: Float = 0
  ) -> Tensor {
    let count = x.elementCount
    let math = kernels.pointee.math
    return x.read { px in
      y.read { py in
        dy.read { pdy in
          Tensor.build(x.shape) { dx in
            parallelRanges(count, minimum: 16_384) { range in
              let start = range.lowerBound
              math.unary_gradient(
                operation, px + start, py + start, pdy + start, dx + start, range.count, p0, p1)
            }
          }
        }
      }
    }
  }
}
