import BraidTensor
import BraidTestSupport
import Testing

@testable import BraidNN

@Suite struct LossTests {
  @Test func lossesMatchTheirDefinitions() {
    var generator = Philox(seed: 51)
    let x = Tensor.normal([3, 5, 7], using: &generator)
    let y = Tensor.normal([3, 5, 7], using: &generator)
    let pairs = zip(x.floats, y.floats).map { (Double($0), Double($1)) }
    func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(values.count) }
    func expectClose(_ loss: Tensor, _ expected: Double) {
      #expect(loss.shape == [])
      #expect(abs(Double(loss.item) - expected) < 1e-5 * abs(expected))
    }
    expectClose(Loss.l1(x, y), mean(pairs.map { abs($0 - $1) }))
    expectClose(Loss.meanSquaredError(x, y), mean(pairs.map { ($0 - $1) * ($0 - $1) }))
    expectClose(
      Loss.charbonnier(x, y, epsilon: 0.1), mean(pairs.map { (($0 - $1) * ($0 - $1) + 0.01).squareRoot() }))
    expectClose(
      Loss.huber(x, y, beta: 0.7),
      mean(pairs.map { abs($0 - $1) < 0.7 ? ($0 - $1) * ($0 - $1) / 2 : 0.7 * (abs($0 - $1) - 0.35) }))
    let cosines = (0..<15).map { row -> Double in
      let vectors = pairs[row * 7..<row * 7 + 7]
      let product = vectors.reduce(0) { $0 + $1.0 * $1.1 }
      let norms = vectors.reduce(0) { $0 + $1.0 * $1.0 } * vectors.reduce(0) { $0 + $1.1 * $1.1 }
      return product / norms.squareRoot()
    }
    expectClose(Loss.cosine(x, y), 1 - mean(cosines))
  }

  @Test func lossGradients() {
    var generator = Philox(seed: 52)
    let x = Tensor.normal([4, 9], using: &generator)
    let y = Tensor.normal([4, 9], using: &generator)
    #expect(gradientError([x, y], step: 1e-3) { Loss.l1($0[0], $0[1]) } < 5e-3)
    #expect(gradientError([x, y]) { Loss.meanSquaredError($0[0], $0[1]) } < 5e-3)
    #expect(gradientError([x, y], step: 1e-2) { Loss.charbonnier($0[0], $0[1], epsilon: 0.1) } < 5e-3)
    #expect(gradientError([x, y], step: 1e-2) { Loss.huber($0[0], $0[1]) } < 5e-3)
    #expect(gradientError([x, y]) { Loss.cosine($0[0], $0[1]) } < 5e-3)
  }
}
