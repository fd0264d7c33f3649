import CBraidKernels

extension Tensor {
  private func resolved(_ axes: [Int]?, _ name: StaticString) -> [Int] {
    (axes ?? Array(0..<rank)).map { shape.axis($0, name) }.sorted()
  }

  private func keptShape(_ axes: [Int]) -> Shape {
    Shape((0..<rank).map { axes.contains($0) ? 1 : shape[$0] })
  }

  /// The sum over `axes` (over all where nil); with `keepingAxes` they stay with size 1.
  public func sum(axes: [Int]? = nil, keepingAxes: Bool = false) -> Tensor {
    let axes = resolved(axes, "sum")
    if axes.isEmpty { return self }
    let full = shape
    let kept = keptShape(axes)
    let result = CPU.sum(CPU.layout(detached.cast(to: .float32), axes: axes))
    let output = keepingAxes ? result.reshaped(kept) : result
    return Tensor.record("sum", output, inputs: [self]) { gradient, _ in
      [gradient.reshaped(kept).broadcast(to: full)]
    }
  }

  /// The mean over `axes` (over all where nil).
  public func mean(axes: [Int]? = nil, keepingAxes: Bool = false) -> Tensor {
    let count = resolved(axes, "mean").reduce(1) { $0 * shape[$1] }
    return sum(axes: axes, keepingAxes: keepingAxes) * (1 / Float(count))
  }

  /// The mean squared distance from the mean over `axes`, divided by count - `correction`.
  public func variance(axes: [Int]? = nil, keepingAxes: Bool = false, correction: Int = 0) -> Tensor {
    let resolvedAxes = resolved(axes, "variance")
    let count = resolvedAxes.reduce(1) { $0 * shape[$1] }
    let centred = self - mean(axes: resolvedAxes, keepingAxes: true)
    return centred.squared().sum(axes: resolvedAxes, keepingAxes: keepingAxes)
      * (1 / Float(count - correction))
  }

  private func extreme(
    _ name: StaticString, axes: [Int]?, keepingAxes: Bool, largest: Bool
  ) -> Tensor {
    let axes = resolved(axes, name)
    let full = shape
    let kept = keptShape(axes)
    let (values, indices) = CPU.extreme(CPU.layout(detached.cast(to: .float32), axes: axes), largest: largest)
    let output = keepingAxes ? values.reshaped(kept) : values
    return Tensor.record(name, output, inputs: [self]) { gradient, _ in
      // One-hot along the flattened reduced axes, moved back into place.
      let keptAxes = (0..<full.rank).filter { !axes.contains($0) }
      let order = keptAxes + axes
      let reduced = axes.reduce(1) { $0 * full[$1] }
      let rows = full.elementCount / Swift.max(reduced, 1)
      let spread = Tensor.zeros([rows, reduced])
      indices.read(as: Int64.self) { positions in
        gradient.read { g in
          spread.overwrite(as: Float.self) { out in
            for row in 0..<rows { out[row * reduced + Int(positions[row])] = g[row] }
          }
        }
      }
      var inverse = [Int](repeating: 0, count: order.count)
      for (position, axis) in order.enumerated() { inverse[axis] = position }
      return [spread.reshaped(Shape(order.map { full[$0] })).permuted(inverse)]
    }
  }

  /// The largest element over `axes`; the gradient goes to the first of equals.
  public func max(axes: [Int]? = nil, keepingAxes: Bool = false) -> Tensor {
    extreme("max", axes: axes, keepingAxes: keepingAxes, largest: true)
  }

  /// The smallest element over `axes`; the gradient goes to the first of equals.
  public func min(axes: [Int]? = nil, keepingAxes: Bool = false) -> Tensor {
    extreme("min", axes: axes, keepingAxes: keepingAxes, largest: false)
  }

  /// The position of the first largest element along an axis, as int64.
  public func argmax(axis: Int) -> Tensor {
    CPU.extreme(
      CPU.layout(detached.cast(to: .float32), axes: [shape.axis(axis, "argmax")]), largest: true
    ).indices
  }

  /// The running sum along an axis.
  public func cumulativeSum(axis: Int) -> Tensor {
    let axis = shape.axis(axis, "cumulativeSum")
    let (length, inner) = (shape[axis], shape.dimensions[(axis + 1)...].reduce(1, *))
    let outer = elementCount / Swift.max(1, length * inner)
    let output = read { x in
      Tensor.build(shape) { y in
        parallelRanges(outer, minimum: Swift.max(1, 16_384 / Swift.max(1, length * inner))) { range in
          for block in range {
            let (from, to) = (x + block * length * inner, y + block * length * inner)
            if inner == 1 {
              var total = 0.0
              for i in 0..<length {
                total += Double(from[i])
                to[i] = Float(total)
              }
            } else if length > 0 {
              to.update(from: from, count: inner)
              for i in 1..<Swift.max(1, length) {
                CPU.kernels.pointee.math.binary(
                  BRAID_BINARY_ADD, to + (i - 1) * inner, from + i * inner, to + i * inner, inner)
              }
            }
          }
        }
      }
    }
    return Tensor.record("cumulativeSum", output, inputs: [self]) { gradient, _ in
      [gradient.flipped(axis: axis).cumulativeSum(axis: axis).flipped(axis: axis)]
    }
  }
}
