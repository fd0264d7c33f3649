import BraidTestSupport
import CBraidKernels
import Foundation
import Testing

@testable import BraidTensor

@Suite struct MatrixRecurrenceTests {
  struct Problem {
    var batch, length, heads, keys, values: Int
    var q, k, v, forget, transition, state: Tensor

    init(batch: Int = 2, length: Int, heads: Int = 2, keys: Int, values: Int) {
      var g = Philox(seed: 1)
      (self.batch, self.length, self.heads, self.keys, self.values) = (batch, length, heads, keys, values)
      q = .normal([batch, length, heads, keys], using: &g)
      k = .normal([batch, length, heads, keys], using: &g)
      v = .normal([batch, length, heads, values], using: &g)
      forget = .uniform([batch, length, heads], in: 0.1...0.95, using: &g)
      transition = .normal([heads, values, values], standardDeviation: 0.4, using: &g)
      state = .normal([batch, heads, keys, values], using: &g)
    }

    var inputs: [Tensor] { [q, k, v, forget, transition, state] }

    /// The literal loop in double precision.
    func truth() -> (output: [Double], state: [Double]) {
      func numbers(_ x: Tensor) -> [Double] { x.floats.map(Double.init) }
      let (q, k, v, f, w) = (numbers(q), numbers(k), numbers(v), numbers(forget), numbers(transition))
      var state = numbers(state)
      var output = v
      for b in 0..<batch {
        for h in 0..<heads {
          let first = (b * heads + h) * keys * values
          for t in 0..<length {
            let at = (b * length + t) * heads + h
            let old = Array(state[first..<first + keys * values])
            for i in 0..<keys {
              for j in 0..<values {
                var z = k[at * keys + i] * v[at * values + j]
                for l in 0..<values { z += old[i * values + l] * w[(h * values + l) * values + j] }
                state[first + i * values + j] = f[at] * old[i * values + j] + (1 - f[at]) * tanh(z)
              }
            }
            for j in 0..<values {
              output[at * values + j] = (0..<keys).reduce(0) {
                $0 + q[at * keys + $1] * state[first + $1 * values + j]
              }
            }
          }
        }
      }
      return (output, state)
    }
  }

  @Test(arguments: [BRAID_LEVEL_BASE, BRAID_LEVEL_AVX2, BRAID_LEVEL_AVX512].map(\.rawValue))
  func everyLevelMatchesTheLoop(_ level: UInt32) throws {
    guard let table = braid_kernels_at(braid_level(level)) else { return }
    for (length, keys, values) in [(1, 1, 1), (17, 5, 19), (65, 16, 32)] {
      let p = Problem(length: length, keys: keys, values: values)
      let truth = p.truth()
      let pointers = p.inputs.map { UnsafePointer($0.mutablePointer) }
      let recurrence = MatrixRecurrence(
        batch: p.batch, length: length, heads: p.heads, keys: keys, values: values, q: pointers[0],
        k: pointers[1], v: pointers[2], forget: pointers[3], transition: pointers[4])
      let output = Tensor.full(p.v.shape, .nan), state = p.state.duplicated()
      withExtendedLifetime(p) {
        CPU.matrixRecurrence(
          recurrence, state: state.mutablePointer, saved: nil, output: output.mutablePointer,
          kernels: table.pointee)
      }
      #expect(relativeError(output.floats, truth.output) < 2e-6)
      #expect(relativeError(state.floats, truth.state) < 2e-6)
    }
  }

  @Test(arguments: [(3, 4, 5), (35, 6, 3)])
  func gradientsMatchFiniteDifferences(_ length: Int, _ keys: Int, _ values: Int) {
    let p = Problem(length: length, keys: keys, values: values)
    poisonMemory(1 << 12)
    let error = gradientError(p.inputs, samples: 20) { x in
      let (y, final) = matrixRecurrence(
        x[0], x[1], x[2], forget: x[3], transition: x[4], initialState: x[5])
      return Tensor.concatenated([y.reshaped(-1), final.reshaped(-1)], axis: 0)
    }
    #expect(error < 2e-3)
  }
}
