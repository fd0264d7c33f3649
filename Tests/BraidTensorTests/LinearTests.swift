import BraidTestSupport
import Testing

@testable import BraidTensor

@Suite struct LinearTests {
  static let activations: [Activation] = [
    .none, .relu, .leakyReLU(slope: 0.1), .gelu, .geluTanh, .silu, .sigmoid, .tanh,
  ]

  @Test(arguments: activations)
  func recordedAndPlainFormsAgreeAndGradientsHold(_ activation: Activation) {
    var g = Philox(seed: 2)
    let x = Tensor.normal([2, 3, 7], using: &g)
    let weight = Tensor.normal([5, 7], using: &g)
    let bias = Tensor.normal([5], using: &g)
    let residual = Tensor.normal([2, 3, 5], using: &g)
    let plain = linear(x, weight, bias: bias, activation: activation, residual: residual)
    let recorded = linear(
      x.requiringGradient(), weight, bias: bias, activation: activation, residual: residual)
    #expect(relativeError(plain, recorded) < 1e-6)
    let error = gradientError([x, weight, bias, residual], step: 1e-3) {
      linear($0[0], $0[1], bias: $0[2], activation: activation, residual: $0[3])
    }
    #expect(error < 1e-2)
    let unbiased = gradientError([x.permuted(1, 0, 2), weight], step: 1e-3) {
      linear($0[0], $0[1], activation: activation)
    }
    #expect(unbiased < 1e-2)
  }

  @Test func matchesDoublePrecision() {
    var g = Philox(seed: 3)
    let x = Tensor.normal([33, 19], using: &g)
    let weight = Tensor.normal([45, 19], using: &g)
    let (a, b) = (x.floats.map(Double.init), weight.floats.map(Double.init))
    var truth = [Double](repeating: 0, count: 33 * 45)
    for i in 0..<33 {
      for j in 0..<45 { for k in 0..<19 { truth[i * 45 + j] += a[i * 19 + k] * b[j * 19 + k] } }
    }
    #expect(relativeError(linear(x, weight).floats, truth) < 1e-6)
    weight.storage.isConstant = true
    #expect(relativeError(linear(x, weight).floats, truth) < 1e-6)
    #expect(relativeError(linear(x, weight).floats, truth) < 1e-6)
  }
}
