import BraidTestSupport
import Testing

@testable import BraidTensor

@Suite struct MatmulTests {
  /// [batch, m, n] products in float64, of operands broadcast beforehand.
  static func truth(_ a: Tensor, _ b: Tensor) -> [Double] {
    let (m, k, n) = (a.shape[-2], a.shape[-1], b.shape[-1])
    let (x, y) = (a.floats, b.floats)
    var result: [Double] = []
    for i in 0..<a.elementCount / (m * k) {
      for row in 0..<m {
        for column in 0..<n {
          result.append(
            (0..<k).reduce(0) {
              $0 + Double(x[(i * m + row) * k + $1]) * Double(y[(i * k + $1) * n + column])
            })
        }
      }
    }
    return result
  }

  @Test func viewsAndBroadcasts() {
    var g = Philox(seed: 1)
    let a = Tensor.normal([3, 1, 5, 7], using: &g), b = Tensor.normal([2, 7, 9], using: &g)
    let wide = matmul(a, b)
    #expect(wide.shape == [3, 2, 5, 9])
    let expected = Self.truth(a.broadcast(to: [3, 2, 5, 7]), b.broadcast(to: [3, 2, 7, 9]))
    #expect(relativeError(wide.floats, expected) < 1e-6)

    let left = Tensor.normal([4, 6, 33], using: &g), right = Tensor.normal([4, 70, 33], using: &g)
    let product = matmul(left, right.transposed())
    #expect(relativeError(product.floats, Self.truth(left, right.transposed().contiguous())) < 1e-6)

    let heads = Tensor.normal([2, 11, 3, 8], using: &g).permuted(0, 2, 1, 3)
    let scores = matmul(heads, heads.transposed())
    #expect(
      relativeError(scores.floats, Self.truth(heads.contiguous(), heads.transposed().contiguous())) < 1e-6)

    let bias = Tensor.normal([9], using: &g)
    let biased = matmul(a, b, bias: bias, activation: .relu)
    #expect(relativeError(biased, (wide + bias).relu()) < 1e-6)
  }

  @Test func gradients() {
    var g = Philox(seed: 2)
    let a = Tensor.normal([2, 3, 4], using: &g), b = Tensor.normal([4, 5], using: &g)
    let c = Tensor.normal([3, 1, 4, 2], using: &g), bias = Tensor.normal([5], using: &g)
    for activation in LinearTests.activations {
      let error = gradientError([a, b, bias], step: 1e-3) {
        matmul($0[0], $0[1], bias: $0[2], activation: activation)
      }
      #expect(error < 1e-2, "\(activation)")
    }
    #expect(gradientError([a, c], step: 1e-2) { matmul($0[0], $0[1]) } < 1e-3)
    #expect(gradientError([c, a], step: 1e-2) { matmul($0[0].transposed(), $0[1].transposed()) } < 1e-3)
  }
}
