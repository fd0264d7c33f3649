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
    let match = WeightMatch(parameters.map { (key: $0.key, value: $0.shape) }, derived: tables)
    let tensors = try match.load(from: checkpoint, keyMap: keyMap)
    for parameter in parameters {
      let value = tensors[parameter.key]!
      let rounded = storedAs.map { value.cast(to: $0) } ?? value
      // Products read weights of 16 bits as they are; everything else computes with float32 values.
      let isFactor = parameter.key.hasSuffix("weight") && [2, 4].contains(parameter.shape.rank)
      parameter.assign(isFactor && storedAs == .bfloat16 ? rounded : rounded.cast(to: .float32))
    }
  }
}
