/// A sparse matrix [outputs, inputs] whose rows are runs of neighbouring weights: how each element of a resampled axis
/// is made of the elements of the original one. Resizing and average pooling are such matrices, one for each axis;
/// their gradients are the transposes.
struct ResamplingMatrix: Sendable {
  let inputs: Int
  /// The first input of each output.
  let starts: [Int32]
  /// Where the weights of each output begin, and the end of all.
  let offsets: [Int32]
  let weights: [Float]

  var outputs: Int { starts.count }

  /// - Parameter row: of an output, the index of its first input and the weights of that and the following ones.
  init(inputs: Int, outputs: Int, row: (Int) -> (start: Int, weights: [Float])) {
    self.inputs = inputs
    var starts: [Int32] = []
    var offsets: [Int32] = [0]
    var weights: [Float] = []
    for output in 0..<outputs {
      let (start, values) = row(output)
      precondition(
        start >= 0 && start + values.count <= inputs, "resampling: weights outside the \(inputs) inputs")
      starts.append(Int32(start))
      weights += values
      offsets.append(Int32(weights.count))
    }
    self.starts = starts
    self.offsets = offsets
    self.weights = weights
  }

  /// As above, from weights at any indices of 0..<inputs in any order; those of equal indices are added.
  init(inputs: Int, outputs: Int, taps: (Int) -> [(index: Int, weight: Double)]) {
    self.init(inputs: inputs, outputs: outputs) { output in
      let taps = taps(output).filter { $0.weight != 0 }
      guard let first = taps.map(\.index).min(), let last = taps.map(\.index).max() else { return (0, []) }
      var values = [Double](repeating: 0, count: last - first + 1)
      for tap in taps { values[tap.index - first] += tap.weight }
      return (first, values.map(Float.init))
    }
  }

  /// The most weights that one output has.
  var longestRow: Int { (0..<outputs).reduce(0) { Swift.max($0, Int(offsets[$1 + 1] - offsets[$1])) } }

  var isIdentity: Bool {
    inputs == outputs && weights.count == outputs && weights.allSatisfy { $0 == 1 }
      && starts.indices.allSatisfy { starts[$0] == $0 && offsets[$0] == $0 }
  }

  /// The matrix [inputs, outputs]; zeros fill a row between its first and last weight.
  var transposed: ResamplingMatrix {
    var first = [Int](repeating: .max, count: inputs)
    var last = [Int](repeating: -1, count: inputs)
    for output in 0..<outputs {
      for input in Int(starts[output])..<Int(starts[output] + offsets[output + 1] - offsets[output]) {
        first[input] = Swift.min(first[input], output)
        last[input] = output
      }
    }
    return ResamplingMatrix(inputs: outputs, outputs: inputs) { input in
      guard last[input] >= 0 else { return (0, []) }
      return (
        first[input],
        (first[input]...last[input]).map { output in
          let tap = input - Int(starts[output])
          let isInside = tap >= 0 && tap < Int(offsets[output + 1] - offsets[output])
          return isInside ? weights[Int(offsets[output]) + tap] : 0
        }
      )
    }
  }
}

extension Tensor {
  /// The tensor with axes resampled, each by its matrix [new size, size].
  func resampled(_ name: StaticString, _ matrices: [Int: ResamplingMatrix]) -> Tensor {
    for (axis, matrix) in matrices {
      precondition(
        matrix.inputs == shape[axis],
        "\(name): a matrix of \(matrix.inputs) inputs for axis \(axis) of \(shape)")
    }
    let changed = matrices.filter { !$0.value.isIdentity }
    if changed.isEmpty { return self }
    let output = CPU.resample(detached.cast(to: .float32), changed)
    return Tensor.record(name, output.cast(to: dtype), inputs: [self]) { gradient, _ in
      [CPU.resample(gradient, changed.mapValues(\.transposed))]
    }
  }
}
