import Foundation

/// The angle of the point (x, y) in (-pi, pi], elementwise; both of one shape.
///
/// The angle of the origin is 0 or pi by the signs of the zeros, as atan2 has it; its gradient there is 0.
public func arctangent(_ y: Tensor, _ x: Tensor) -> Tensor {
  precondition(y.shape == x.shape, "arctangent: y \(y.shape), x \(x.shape)")
  let (ys, xs) = (y.detached, x.detached)
  let count = y.elementCount
  let angle = ys.read { ys in
    xs.read { xs in
      Tensor.build(y.shape) { out in
        parallelRanges(count, minimum: 1024) { range in for i in range { out[i] = atan2f(ys[i], xs[i]) } }
      }
    }
  }
  return Tensor.record("arctangent", angle, inputs: [y, x]) { gradient, needed in
    let squared = ys.squared() + xs.squared()
    let scale = gradient / (squared + squared.equal(Tensor(0)))
    return [needed[0] ? scale * xs : nil, needed[1] ? -(scale * ys) : nil]
  }
}
