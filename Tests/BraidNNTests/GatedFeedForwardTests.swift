import BraidNN
import BraidTensor
import BraidTestSupport
import Testing

@Suite struct GatedFeedForwardTests {
  @Test(arguments: [GatedFeedForward.Names.projections, .numbered, .fused], [Activation.silu, .geluTanh])
  func followsItsFormula(names: GatedFeedForward.Names, activation: Activation) {
    let store = ParameterStore()
    let layer = GatedFeedForward(
      store.root("mlp"), channels: 6, hidden: 10, names: names, activation: activation, bias: true,
      gateScale: 0.7, outputScale: 1.5)
    store.initialize(seed: 5)
    let keys = store.parameters.map(\.key).filter { $0.hasSuffix("weight") }
    switch names {
    case .numbered: #expect(keys == ["mlp.w1.weight", "mlp.w3.weight", "mlp.w2.weight"])
    case .fused: #expect(keys == ["mlp.gate_up_proj.weight", "mlp.down_proj.weight"])
    default: #expect(keys == ["mlp.gate_proj.weight", "mlp.up_proj.weight", "mlp.down_proj.weight"])
    }
    var values = store.parameters.map(\.value)
    if layer.up == nil {
      values = values[0].split(into: 2, axis: 0) + values[1].split(into: 2, axis: 0) + values[2...]
    }
    // Weight and bias of gate, up and down, in this order.
    if layer.up == nil { values = [values[0], values[2], values[1], values[3]] + values[4...] }
    var g = Philox(seed: 1)
    let x = Tensor.normal([2, 3, 6], using: &g), residual = Tensor.normal([2, 3, 6], using: &g)
    func formula(_ x: Tensor, _ v: [Tensor]) -> Tensor {
      let gate = (linear(x, v[0], bias: v[1]) * 0.7).applying(activation)
      return linear(gate * linear(x, v[2], bias: v[3]), v[4], bias: v[5]) * 1.5
    }
    #expect(relativeError(layer(x, residual: residual), formula(x, values) + residual) < 1e-6)
    #expect(relativeError(layer(x), formula(x, values)) < 1e-6)
    #expect(gradientError([x]) { layer($0[0]) } < 5e-3)
  }

  @Test func normsMayStoreTheirDifferenceFromOne() {
    let store = ParameterStore()
    let plain = RMSNorm(store.root("a"), channels: 5)
    let offset = RMSNorm(store.root("b"), channels: 5, offset: 1)
    store.initialize(seed: 1)
    var g = Philox(seed: 2)
    let x = Tensor.normal([3, 5], using: &g)
    #expect(offset.weight.value.floats == [0, 0, 0, 0, 0])
    #expect(plain(x).floats == offset(x).floats)
  }
}
