import BraidTensor

/// Leaves NaN in the freed blocks that an operation with an output of about `elementCount` elements gets next.
public func poisonMemory(_ elementCount: Int) {
  var size = 16
  var held: [Tensor] = []
  while size <= 2 * elementCount {
    for eighth in 0..<8 { held.append(Tensor.full([size + size * eighth / 8], .nan)) }
    size *= 2
  }
}
