import BraidNN
import BraidTensor
import BraidTestSupport
import Foundation
import Testing

@testable import BraidMixers

@Suite struct H3Tests {
  /// One layer of the published implementation: every weight a number of its own.
  @Test func agreesWithThePublishedLayer() throws {
    let fixture = try ReferenceFixture(Bundle.module.resourceURL!.appendingPathComponent("Fixtures/h3"))
    let store = ParameterStore()
    let layer = try H3(store.root, .init(channels: 16, stateSize: 8, headSize: 2))
    let weights = Dictionary(uniqueKeysWithValues: fixture.weights().map { ($0.key, $0.value) })
    #expect(Set(weights.keys) == Set(store.parameters.map(\.key)))
    store.parameters.forEach { $0.assign(weights[$0.key]!) }
    let input = try fixture.data.tensor("input")
    let output = try fixture.data.tensor("output")
    withoutGradient {
      #expect(relativeError(layer(input), output) < 1e-5)
      #expect(relativeError(layer.reference(input), output) < 1e-5)
      var state = layer.initialState(batch: 2)
      let stepped = (0..<96).map { layer.step(input.sliced(axis: 1, $0..<$0 + 1), state: &state) }
      #expect(relativeError(Tensor.concatenated(stepped, axis: 1), output) < 1e-5)
    }
  }

  @Test func powersAreThoseOfComplexNumbers() {
    let (real, imaginary) = (Tensor([0.3, -0.9] as [Float]), Tensor([0.8, 0.1] as [Float]))
    let powers = complexPowers(real, imaginary, count: 6)
    #expect(powers.shape == [2, 2, 6])
    #expect(abs(powers.floats[2] - (0.09 - 0.64)) < 1e-6 && abs(powers.floats[14] - 0.48) < 1e-6)
    #expect(
      gradientError([real, imaginary]) { complexPowers($0[0], $0[1], count: 6) } < 1e-3)
  }
}
