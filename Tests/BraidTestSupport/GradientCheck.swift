import BraidTensor

/// How far the gradients of `function` are from central finite differences, as
/// norm(difference) / max(norm(finite difference), floor), the worst of the inputs.
///
/// The function's output is contracted with fixed random numbers; of each input at most `samples` elements are
/// perturbed.
public func gradientError(
  _ inputs: [Tensor], step: Float = 1e-2, samples: Int = 40, floor: Double = 1e-3, seed: UInt64 = 7,
  _ function: ([Tensor]) -> Tensor
) -> Double {
  var generator = Philox(seed: seed)
  let leaves = inputs.map { $0.dtype.isFloatingPoint ? $0.requiringGradient() : $0 }
  let output = function(leaves)
  let weights = Tensor.normal(output.shape, using: &generator)
  let wanted = leaves.indices.filter { inputs[$0].dtype.isFloatingPoint }
  let gradients = output.gradients(for: wanted.map { leaves[$0] }, seed: weights)

  func value(_ inputs: [Tensor]) -> Double {
    let result = withoutGradient { function(inputs) }
    return zip(result.floats, weights.floats).reduce(0) { $0 + Double($1.0) * Double($1.1) }
  }
  var worst = 0.0
  for (gradient, index) in zip(gradients, wanted) {
    let base = inputs[index].floats
    let exact = gradient.floats
    let count = base.count
    let picked = count <= samples ? Array(0..<count) : (0..<samples).map { _ in generator.integer(count) }
    var difference = 0.0
    var norm = 0.0
    for i in picked {
      func moved(_ by: Float) -> Double {
        var elements = base
        elements[i] += by
        var arguments = inputs
        arguments[index] = Tensor(elements, shape: inputs[index].shape)
        return value(arguments)
      }
      // Two step sizes (Richardson) remove the second-order error.
      let coarse = (moved(step) - moved(-step)) / (2 * Double(step))
      let fine = (moved(step / 2) - moved(-step / 2)) / Double(step)
      let estimate = (4 * fine - coarse) / 3
      difference += (Double(exact[i]) - estimate) * (Double(exact[i]) - estimate)
      norm += estimate * estimate
    }
    worst = max(worst, difference.squareRoot() / max(norm.squareRoot(), floor))
  }
  return worst
}

/// norm(actual - expected) / norm(expected); infinite where a NaN stands or the counts differ.
public func relativeError(_ actual: [Float], _ expected: [Double]) -> Double {
  guard actual.count == expected.count else { return .infinity }
  var difference = 0.0
  var norm = 0.0
  for (a, b) in zip(actual, expected) {
    difference += (Double(a) - b) * (Double(a) - b)
    norm += b * b
  }
  guard difference.isFinite else { return .infinity }
  return norm == 0 ? difference.squareRoot() : (difference / norm).squareRoot()
}

public func relativeError(_ actual: Tensor, _ expected: Tensor) -> Double {
  actual.shape == expected.shape ? relativeError(actual.floats, expected.floats.map(Double.init)) : .infinity
}
