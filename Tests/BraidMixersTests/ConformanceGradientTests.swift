import BraidMixers
import BraidNN
import BraidTensor
import BraidTestSupport
import Testing

/// What every mixer of the registry owes: the gradients of inputs, parameters and initial state are those of finite
/// differences.
@Suite struct GradientConformanceTests {
  @Test(arguments: MixerCase.all)
  func inputsAndParameters(_ this: MixerCase) throws {
    let (mixer, store) = try this.make()
    let isMap = mixer is any MapMixer
    let x = MixerCase.inputs(2, isMap ? [7, 5] : [70], mixer.channels, seed: 11)
    store.makeTrainable()
    let parameters = store.parameters
    let leaves = [x] + parameters.map { $0.value.detached }
    check(this, names: ["inputs"] + parameters.map(\.key), leaves) { values in
      zip(parameters, values.dropFirst()).forEach { $0.assign($1) }
      return mixer.callAsFunction(values[0])
    }
  }

  @Test(arguments: MixerCase.causal)
  func initialState(_ this: MixerCase) throws {
    let (mixer, _) = try this.makeCausal()
    let x = MixerCase.inputs(2, [79], mixer.channels, seed: 12)
    let fresh = Dictionary(
      uniqueKeysWithValues: mixer.initialState(batch: 2).tensors.map { ($0.name, $0.tensor) })
    // A state that positions have filled, so that nothing hides behind a zero.
    var warm = mixer.initialState(batch: 2)
    _ = withoutGradient { mixer.prefill(x.sliced(axis: 1, 0..<9), state: &warm) }
    let learnt = warm.tensors.filter { name, tensor in
      tensor.dtype == .float32 && tensor.elementCount > 0 && fresh[name].map { $0.elementCount > 0 } ?? false
    }
    guard !learnt.isEmpty else { return }
    check(this, names: learnt.map { "state \($0.name)" }, learnt.map { $0.tensor.duplicated() }) { values in
      let given = Dictionary(uniqueKeysWithValues: zip(learnt.map(\.name), values))
      var state = warm.mapped { given[$0] ?? $1 }
      let y = mixer.prefill(x.sliced(axis: 1, 9..<79), state: &state)
      return y
    }
  }

  /// Compares along random directions: all elements of a tensor move at once, so that a wrong share of the gradient
  /// shows as about that share of the difference.
  private func check(
    _ this: MixerCase, names: [String], _ values: [Tensor], _ function: ([Tensor]) -> Tensor
  ) {
    var generator = Philox(seed: 13)
    let leaves = values.map { $0.requiringGradient() }
    let book = RouteBook()
    let output = book.noting { function(leaves) }
    let weights = Tensor.normal(output.shape, using: &generator)
    let gradients = output.gradients(for: leaves, seed: weights)
    let scale = output.floats.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
    let weighted = weights.floats
    func value(_ values: [Tensor]) -> Double {
      zip(book.repeating { withoutGradient { function(values) } }.floats, weighted).reduce(0) {
        $0 + Double($1.0) * Double($1.1)
      }
    }
    for (index, name) in names.enumerated() {
      let base = values[index]
      let size = max(base.floats.reduce(0) { max($0, abs($1)) } * 0.5, 0.05)
      let exact = gradients[index].floats
      var error = Double.infinity
      // A smaller step where a bend, a kink or a change of route lay within the larger one.
      for step: Float in [0.16, 4e-2, 8e-3, 1e-3] where error > 2e-3 {
        var (difference, norm) = (0.0, 0.0)
        for _ in 0..<4 {
          let direction = Tensor.normal(base.shape, standardDeviation: size, using: &generator)
          func moved(_ by: Float) -> Double {
            var changed = values
            changed[index] = base + direction * by
            return value(changed)
          }
          let coarse = (moved(step) - moved(-step)) / (2 * Double(step))
          let fine = (moved(step / 2) - moved(-step / 2)) / Double(step)
          let estimate = (4 * fine - coarse) / 3
          let derivative = zip(exact, direction.floats).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
          difference += (derivative - estimate) * (derivative - estimate)
          norm += estimate * estimate
        }
        error = min(error, difference.squareRoot() / max(norm.squareRoot(), 1e-3 * scale))
      }
      this.expect(error, atMost: 1e-2, "gradient, \(name)")
    }
  }
}
