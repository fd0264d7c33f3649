import BraidCheckpoint
import BraidTestSupport
import CBraidKernels
import Foundation
import Testing

@testable import BraidTensor

@Suite struct DeltaRuleTests {
  typealias Problem = DeltaRuleProblem

  func apply(_ p: Problem, _ range: Range<Int>? = nil, state: Tensor?) -> (output: Tensor, finalState: Tensor)
  {
    func part(_ x: Tensor) -> Tensor { range.map { x.sliced(axis: 1, $0) } ?? x }
    return deltaRule(
      part(p.q), part(p.k), part(p.v), beta: part(p.beta), logDecay: p.decay.map(part), initialState: state)
  }

  @Test(arguments: [BRAID_LEVEL_BASE, BRAID_LEVEL_AVX2, BRAID_LEVEL_AVX512].map(\.rawValue))
  func everyLevelMatchesTheLoop(_ level: UInt32) throws {
    guard let table = braid_kernels_at(braid_level(level)) else { return }
    for kind in Problem.Decay.allCases {
      for (length, keys, values) in [(1, 1, 1), (16, 5, 19), (63, 16, 32), (64, 33, 7), (130, 24, 40)] {
        for strength: Float in kind == .none ? [0] : [0.02, 1, 30] {
          poisonMemory(40_000)
          let p = Problem(kind, length: length, keys: keys, values: values, strength: strength)
          for (i, (actual, expected)) in zip(p.results(table.pointee.delta), p.expected()).enumerated() {
            #expect(
              relativeError(actual, expected) < (i < 2 ? 2e-6 : 1e-5),
              "\(kind) \(length) \(keys) \(values) \(strength): result \(i)")
          }
        }
      }
    }
  }

  @Test(arguments: Problem.Decay.allCases)
  func matchesTheLoopAtAnyLength(_ kind: Problem.Decay) {
    for length in [1, 2, 4, 5, 63, 64, 65, 1000] {
      // Decays from none at all to a forgotten past, and writes that overshoot.
      for (strength, beta): (Float, Float) in [(0.01, 1), (5, 2), (300, 1)] {
        let p = Problem(
          kind, length: length, heads: 1, keys: 16, values: 24, strength: strength, beta: beta)
        let truth = p.truth()
        poisonMemory(length * 24)
        let (output, final) = apply(p, state: p.state)
        #expect(relativeError(output.floats, truth.output) < 1e-5)
        #expect(relativeError(final.floats, truth.finalState) < 1e-5)
        if kind == .none { break }
      }
    }
  }

  @Test func forgetsAllAtAnInfiniteDecay() {
    var p = Problem(.channel, length: 70, heads: 1, keys: 4, values: 3)
    var decay = p.decay!.floats
    for i in 0..<4 { decay[66 * 4 + i] = -.infinity }
    p.decay = Tensor(decay, shape: p.decay!.shape)
    let after = apply(p, 66..<70, state: nil)
    let whole = apply(p, state: p.state)
    #expect(relativeError(whole.output.sliced(axis: 1, 66..<70), after.output) < 1e-6)
    #expect(relativeError(whole.finalState, after.finalState) < 1e-6)
  }

  @Test(arguments: Problem.Decay.allCases)
  func stateCarriesAcrossAnySplit(_ kind: Problem.Decay) {
    let p = Problem(kind, batch: 2, length: 150, keys: 12, values: 20)
    let whole = apply(p, state: p.state)
    for cut in [1, 3, 64, 100, 149] {
      let first = apply(p, 0..<cut, state: p.state)
      let second = apply(p, cut..<150, state: first.finalState)
      #expect(
        relativeError(Tensor.concatenated([first.output, second.output], axis: 1), whole.output) < 2e-6)
      #expect(relativeError(second.finalState, whole.finalState) < 2e-6)
    }
  }

  @Test(arguments: Problem.Decay.allCases)
  func sharedHeadsAndViews(_ kind: Problem.Decay) {
    let p = Problem(kind, batch: 2, length: 70, heads: 6, keyHeads: 2, keys: 8, values: 12, seed: 3)
    let expected = p.expected()
    // Queries and keys side by side in one projection, the others with heads before positions.
    let joined = Tensor.concatenated([p.q, p.k], axis: 3)
    func swapped(_ x: Tensor) -> Tensor { x.transposed(1, 2).contiguous().transposed(1, 2) }
    let leaves = [
      joined.sliced(axis: 3, 0..<8), joined.sliced(axis: 3, 8..<16), swapped(p.v), swapped(p.beta),
    ]
    let inputs = (leaves + [p.decay.map(swapped)].compactMap { $0 } + [p.state]).map {
      $0.requiringGradient()
    }
    let (output, final) = deltaRule(
      inputs[0], inputs[1], inputs[2], beta: inputs[3], logDecay: p.decay == nil ? nil : inputs[4],
      initialState: inputs.last!)
    let loss = (output * swapped(p.outputGradient)).sum() + (final * p.stateGradient).sum()
    let results = [output, final] + loss.gradients(for: inputs)
    for (actual, expected) in zip(results, expected) {
      #expect(relativeError(actual.floats, expected) < 1e-5)
    }
  }

  @Test(arguments: Problem.Decay.allCases)
  func gradientsMatchFiniteDifferences(_ kind: Problem.Decay) {
    for length in [3, 67] {
      let p = Problem(kind, length: length, heads: 2, keyHeads: 1, keys: 5, values: 6, seed: 5)
      let inputs = [p.q, p.k, p.v, p.beta, p.state] + [p.decay].compactMap { $0 }
      let error = gradientError(inputs, samples: 20) { x in
        let (y, final) = deltaRule(
          x[0], x[1], x[2], beta: x[3], logDecay: p.decay == nil ? nil : x[5], initialState: x[4])
        return Tensor.concatenated([y.reshaped(-1), final.reshaped(-1)], axis: 0)
      }
      #expect(error < 2e-3)
    }
  }

  @Test func unusedOutputsHaveNoGradient() {
    let p = Problem(.head, length: 20, keys: 4, values: 4)
    let q = p.q.requiringGradient(), v = p.v.requiringGradient()
    let final = deltaRule(q, p.k, v, beta: p.beta, logDecay: p.decay).finalState
    let gradients = final.sum().gradients(for: [q, v])
    #expect(gradients[0].floats.allSatisfy { $0 == 0 })
    #expect(gradients[1].floats.contains { $0 != 0 })
  }

  /// Against the naive recurrences of flash-linear-attention in double precision.
  @Test(arguments: ["delta", "gated", "kimi"])
  func matchesThePublishedRecurrence(_ name: String) throws {
    let url = try #require(
      Bundle.module.url(forResource: "delta_rule", withExtension: "safetensors", subdirectory: "Fixtures"))
    let file = try Checkpoint.open(url.path)
    func golden(_ key: String) throws -> Tensor { try file.tensor("\(name).\(key)") }
    let keys = ["q", "k", "v", "beta", "state"] + (name == "delta" ? [] : ["g"])
    let inputs = try keys.map { try golden($0).requiringGradient() }
    let (output, final) = deltaRule(
      inputs[0], inputs[1], inputs[2], beta: inputs[3], logDecay: name == "delta" ? nil : inputs[5],
      initialState: inputs[4])
    #expect(try relativeError(output, golden("o")) < 1e-6)
    #expect(try relativeError(final, golden("final")) < 1e-6)
    let loss = try (output * golden("do")).sum() + (final * golden("ds")).sum()
    for (key, gradient) in zip(keys, loss.gradients(for: inputs)) {
      #expect(try relativeError(gradient, golden("d_\(key)")) < 3e-6, "\(key)")
    }
  }
}
