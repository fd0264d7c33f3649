import BraidNN
import BraidTensor
import BraidTestSupport
import Testing

@testable import BraidMixers

@Suite struct SelectiveScan2DTests {
  @Test(arguments: [(1, 1), (5, 3), (8, 8)])
  func gradientsHoldAndBatchesAreIndependent(_ height: Int, _ width: Int) {
    let store = ParameterStore()
    let mixer = SelectiveScan2D(store.root, valid: .init(channels: 6, stateSize: 3, stepRank: 2))
    store.initialize(seed: 1)
    var g = Philox(seed: 2)
    let x = Tensor.normal([2, height, width, 6], using: &g)
    let y = mixer(x)
    #expect(y.shape == x.shape)
    #expect(relativeError(mixer(x.sliced(axis: 0, 1..<2)), y.sliced(axis: 0, 1..<2)) < 1e-6)
    #expect(gradientError([x], samples: 20) { mixer($0[0]) } < 2e-2)
  }

  /// With B = 0 nothing reaches the states, and each direction adds D u.
  @Test func withoutInputsTheScanIsItsSkip() {
    let store = ParameterStore()
    let mixer = SelectiveScan2D(store.root, valid: .init(channels: 4, stateSize: 2, stepRank: 1))
    store.initialize(seed: 1)
    let projection = store.parameters.first { $0.key == "x_proj_weight" }!
    projection.assign(.zeros(projection.shape))
    var g = Philox(seed: 2)
    let x = Tensor.normal([1, 3, 4, 4], using: &g)
    let parts = mixer.input(x).split(into: 2, axis: -1)
    let u = mixer.convolution(parts[0]).silu()
    let expected = mixer.output(mixer.norm(u * 4) * parts[1].silu())
    #expect(relativeError(mixer(x), expected) < 1e-5)
  }
}
