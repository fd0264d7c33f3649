import BraidNN
import BraidTensor

extension ParameterStore {
  /// Takes all values from a checkpoint: strict both ways, derived tables checked where present.
  ///
  /// - Parameters:
  ///   - storedAs: a type that the weights are rounded to before use (bfloat16, say); nil keeps them.
  ///   - keyMap: the model's name of a checkpoint's key, where a layout differs; nil drops it.
  /// - Throws: `CheckpointError.mismatch` with everything missing, unused, misshapen or contradictory.
  public func load(
    from checkpoint: Checkpoint, storedAs: DType? = nil, keyMap: (String) -> String? = { $0 }
  ) throws {
    let tensors = try weightMatch.load(from: checkpoint, keyMap: keyMap)
    for parameter in parameters {
      let value = tensors[parameter.key]!
      let rounded = storedAs.map { value.cast(to: $0) } ?? value
      // Products read weights of 16 bits as they are; everything else computes with float32 values.
      let isFactor = parameter.key.hasSuffix("weight") && [2, 4].contains(parameter.shape.rank)
      parameter.assign(isFactor && storedAs == .bfloat16 ? rounded : rounded.cast(to: .float32))
    }
  }

  /// Takes all values from a checkpoint, as `load(from:keyMap:)` does, with the factors of linear products held in
  /// a format of few bits.
  ///
  /// The file is read one tensor after the other, so that no more memory is used than the converted weights and one
  /// tensor take. What the file holds in the format already is used in place; such parameters are constant.
  ///
  /// - Parameters:
  ///   - format: how the matrices are held.
  ///   - keyMap: the model's name of a checkpoint's key, where a layout differs; nil drops it.
  ///   - smallest: matrices of fewer numbers stay tensors.
  ///   - including: which of the model's factors are held so; the others stay float32 tensors.
  /// - Throws: `CheckpointError.mismatch` with everything missing, unused, misshapen or contradictory.
  public func load(
    from checkpoint: Checkpoint, storedAs format: WeightFormat, keyMap: (String) -> String? = { $0 },
    smallest: Int = 4096, including: (Parameter) -> Bool = { _ in true }
  ) throws {
    let keys = try weightMatch.keys(in: checkpoint, keyMap: keyMap)
    func isHeld(_ parameter: Parameter) -> Bool {
      parameter.isFactor && parameter.shape.rank >= 2 && parameter.shape.elementCount >= smallest
        && including(parameter)
    }
    func isInPlace(_ parameter: Parameter) -> Bool {
      checkpoint.entry(keys[parameter.key]!)!.storedType == (isHeld(parameter) ? format.storedType : .float32)
    }
    // What is converted comes first: pages of a file are given back only while nobody could have changed them.
    for parameter in parameters where !isInPlace(parameter) {
      try checkpoint.withPassingTensor(keys[parameter.key]!) { tensor in
        if isHeld(parameter) {
          parameter.assign(QuantizedMatrix(tensor, as: format))
        } else {
          parameter.assign(tensor.dtype == .float32 ? tensor.duplicated() : tensor.cast(to: .float32))
        }
      }
    }
    for parameter in parameters where isInPlace(parameter) {
      let tensor = try checkpoint.tensor(keys[parameter.key]!)
      if isHeld(parameter) {
        parameter.assign(QuantizedMatrix(tensor, as: format))
      } else {
        parameter.assign(tensor)
      }
    }
  }

  /// What the model declares.
  private var weightMatch: WeightMatch {
    let tables = derived.map { table in
      WeightMatch.Derived(table.key) { found in
        let expected = table.value()
        guard found.shape == expected.shape else { return "shape \(found.shape), expected \(expected.shape)" }
        let (a, b) = (found.floats, expected.floats)
        guard let wrong = a.indices.first(where: { abs(a[$0] - b[$0]) > 1e-5 * (1 + abs(b[$0])) }) else {
          return nil
        }
        return "element \(wrong) is \(a[wrong]), the configuration gives \(b[wrong])"
      }
    }
    return WeightMatch(parameters.map { (key: $0.key, value: $0.shape) }, derived: tables)
  }
}

extension WeightFormat {
  /// The type of a file's elements that are used in place; nil where there is none.
  fileprivate var storedType: StoredType? {
    switch self {
    case .f32: .float32
    case .bf16: .bfloat16
    case .int8, .q4_0: nil
    }
  }
}
