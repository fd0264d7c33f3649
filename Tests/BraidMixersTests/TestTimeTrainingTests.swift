import BraidCheckpoint
import BraidNN
import BraidTensor
import BraidTestSupport
import Foundation
import Testing

@testable import BraidMixers

@Suite struct TestTimeTrainingTests {
  /// Against the naive form of flash-linear-attention in double precision.
  @Test func linearMemoryMatchesThePublishedForm() throws {
    let url = try #require(
      Bundle.module.url(forResource: "ttt_linear", withExtension: "safetensors", subdirectory: "Fixtures"))
    let file = try Checkpoint.open(url.path)
    func head(_ name: String) throws -> Tensor { try file.tensor(name).transposed(1, 2) }
    let width: Float = 6
    let q = try head("q") * (1 / width.squareRoot())
    let (k, v, rate) = try (head("k"), head("v"), head("eta"))
    var memory = FastWeightMemory(
      weights: [try Tensor.concatenated([file.tensor("state"), file.tensor("bias")], axis: 2)],
      changes: [.zeros([2, 2, 7, 6])], decay: nil, position: 0, miniBatch: 16, hasBias: true,
      normalization: .init(
        weight: try file.tensor("w").reshaped(2, 1, 6), bias: try file.tensor("b").reshaped(2, 1, 6),
        epsilon: 1e-6))
    let parts = [0..<16, 16..<21, 21..<32, 32..<48].map { (range: Range<Int>) in
      func part(_ x: Tensor) -> Tensor { x.sliced(axis: 2, range) }
      return memory.read(part(q), part(k), part(v), rate: part(rate), logDecay: nil)
    }
    let output = Tensor.concatenated(parts, axis: 2).transposed(1, 2)
    #expect(try relativeError(output, file.tensor("o")) < 2e-6)
    #expect(
      try relativeError(memory.weights[0].sliced(axis: 2, 0..<6), file.tensor("final_state")) < 2e-6)
    #expect(try relativeError(memory.weights[0].sliced(axis: 2, 6..<7), file.tensor("final_bias")) < 2e-6)
  }

  /// A linear memory that is corrected at every position is the delta rule.
  @Test func linearMemoryOfSinglePositionsIsTheDeltaRule() {
    var g = Philox(seed: 2)
    let (q, v) = (Tensor.normal([2, 30, 3, 5], using: &g), Tensor.normal([2, 30, 3, 4], using: &g))
    let k = Tensor.normal([2, 30, 3, 5], using: &g).unitNorm()
    let rate = Tensor.uniform([2, 30, 3], in: 0...1, using: &g)
    let state = Tensor.normal([2, 3, 5, 4], using: &g)
    var memory = FastWeightMemory(
      weights: [state], changes: [.zeros(state.shape)], decay: nil, position: 0, miniBatch: 1,
      hasBias: false, normalization: nil)
    let outputs = (0..<30).map { t in
      func part(_ x: Tensor) -> Tensor { x.transposed(1, 2).sliced(axis: 2, t..<t + 1) }
      return memory.read(
        part(q), part(k), part(v), rate: part(rate.unsqueezed(-1)), logDecay: nil)
    }
    let (expected, final) = deltaRule(q, k, v, beta: rate, scale: 1, initialState: state)
    #expect(relativeError(Tensor.concatenated(outputs, axis: 2).transposed(1, 2), expected) < 2e-6)
    #expect(relativeError(memory.weights[0], final) < 2e-6)
  }
}
