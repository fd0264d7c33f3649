import CBraidKernels
import Foundation

@testable import BraidTensor

/// Arguments of the delta rule with keys of norm 1, and its recurrence in double precision.
struct DeltaRuleProblem {
  enum Decay: String, CaseIterable { case none, head, channel }

  var (batch, length, heads, keyHeads, keys, values) = (1, 1, 1, 1, 1, 1)
  var kind: Decay
  var q, k, v, beta, state: Tensor
  var decay: Tensor?
  var outputGradient, stateGradient: Tensor

  /// - Parameter strength: the strongest log decay of a step; most are far weaker.
  init(
    _ kind: Decay, batch: Int = 1, length: Int, heads: Int = 2, keyHeads: Int? = nil, keys: Int, values: Int,
    strength: Float = 1, beta largest: Float = 1, seed: UInt64 = 1
  ) {
    var g = Philox(seed: seed)
    let keyHeads = keyHeads ?? heads
    self.kind = kind
    (self.batch, self.length, self.heads, self.keyHeads) = (batch, length, heads, keyHeads)
    (self.keys, self.values) = (keys, values)
    func unit(_ x: Tensor) -> Tensor { x / x.squared().sum(axes: [3], keepingAxes: true).squareRoot() }
    q = unit(.normal([batch, length, keyHeads, keys], using: &g))
    k = unit(.normal([batch, length, keyHeads, keys], mean: 0.5, using: &g))
    v = .normal([batch, length, heads, values], using: &g)
    beta = .uniform([batch, length, heads], in: 0...largest, using: &g)
    state = .normal([batch, heads, keys, values], using: &g)
    if kind != .none {
      let shape: Shape = kind == .head ? [batch, length, heads] : [batch, length, heads, keys]
      let u = Tensor.uniform(shape, in: 0...1, using: &g)
      decay = u * u * u * -strength
    }
    outputGradient = .normal([batch, length, heads, values], using: &g)
    stateGradient = .normal([batch, heads, keys, values], using: &g)
  }

  struct Truth {
    var output, finalState, q, k, v, beta, decay, state: [Double]
  }

  /// The literal loop, and the same loop backwards.
  func truth() -> Truth {
    func numbers(_ x: Tensor) -> [Double] { x.floats.map(Double.init) }
    let (q, k, v, beta) = (numbers(q), numbers(k), numbers(v), numbers(beta))
    let given = numbers(outputGradient)
    let g = decay.map(numbers) ?? []
    let scale = 1 / Double(keys).squareRoot()
    var t = Truth(
      output: v, finalState: numbers(state), q: q.map { _ in 0 }, k: q.map { _ in 0 }, v: v, beta: beta,
      decay: g.map { _ in 0 }, state: numbers(stateGradient))
    for b in 0..<batch {
      for h in 0..<heads {
        let first = (b * heads + h) * keys * values
        var history = [Double](repeating: 0, count: (length + 1) * keys * values)
        var errors = [Double](repeating: 0, count: length * values)
        for i in 0..<keys * values { history[i] = t.finalState[first + i] }
        func at(_ step: Int) -> Int { (b * length + step) * heads + h }
        func row(_ step: Int) -> Int { ((b * length + step) * keyHeads + h / (heads / keyHeads)) * keys }
        func factor(_ step: Int, _ i: Int) -> Double {
          switch kind {
          case .none: 1
          case .head: exp(g[at(step)])
          case .channel: exp(g[at(step) * keys + i])
          }
        }
        for step in 0..<length {
          let (old, new) = (step * keys * values, (step + 1) * keys * values)
          for j in 0..<values {
            var predicted = 0.0
            for i in 0..<keys {
              history[new + i * values + j] = factor(step, i) * history[old + i * values + j]
              predicted += k[row(step) + i] * history[new + i * values + j]
            }
            let error = v[at(step) * values + j] - predicted
            errors[step * values + j] = error
            var read = 0.0
            for i in 0..<keys {
              history[new + i * values + j] += beta[at(step)] * k[row(step) + i] * error
              read += scale * q[row(step) + i] * history[new + i * values + j]
            }
            t.output[at(step) * values + j] = read
          }
        }
        for i in 0..<keys * values { t.finalState[first + i] = history[length * keys * values + i] }
        for step in (0..<length).reversed() {
          let (old, new) = (step * keys * values, (step + 1) * keys * values)
          t.beta[at(step)] = 0
          for j in 0..<values {
            let dy = given[at(step) * values + j]
            var update = 0.0
            for i in 0..<keys {
              t.q[row(step) + i] += scale * dy * history[new + i * values + j]
              t.state[first + i * values + j] += scale * q[row(step) + i] * dy
              update += k[row(step) + i] * t.state[first + i * values + j]
            }
            let error = errors[step * values + j]
            t.beta[at(step)] += update * error
            update *= beta[at(step)]
            t.v[at(step) * values + j] = update
            for i in 0..<keys {
              let decayed = factor(step, i) * history[old + i * values + j]
              t.k[row(step) + i] +=
                t.state[first + i * values + j] * beta[at(step)] * error - update * decayed
              let through = t.state[first + i * values + j] - k[row(step) + i] * update
              if kind == .head { t.decay[at(step)] += through * decayed }
              if kind == .channel { t.decay[at(step) * keys + i] += through * decayed }
              t.state[first + i * values + j] = through * factor(step, i)
            }
          }
        }
      }
    }
    return t
  }

  /// Output, final state and the gradients of q, k, v, beta, the decay (where there is one) and the initial state, by
  /// the kernels of one level.
  func results(_ kernels: braid_delta_kernels) -> [[Float]] {
    let shape = DeltaRuleShape(
      batch: batch, length: length, heads: heads, keyHeads: keyHeads, keys: keys, values: values,
      scale: 1 / Float(keys).squareRoot(),
      decay: [
        .none: BRAID_DELTA_NO_DECAY, .head: BRAID_DELTA_HEAD_DECAY, .channel: BRAID_DELTA_CHANNEL_DECAY,
      ][
        kind]!)
    let inputs = DeltaRuleInputs(
      q: HeadRows(q), k: HeadRows(k), v: HeadRows(v), beta: HeadRows(beta), decay: decay.map(HeadRows.init),
      initialState: UnsafePointer(state.mutablePointer))
    let output = Tensor.full(v.shape, .nan), final = Tensor.full(state.shape, .nan)
    let trace = DeltaRuleTrace(shape)
    let gradients = ([q, k, v, beta] + [decay].compactMap { $0 } + [state]).map {
      Tensor.full($0.shape, .nan)
    }
    withExtendedLifetime((self, gradients)) {
      CPU.deltaRule(
        shape, inputs, output: output.mutablePointer, finalState: final.mutablePointer, trace: trace,
        kernels: kernels)
      CPU.deltaRuleGradient(
        shape, inputs, trace: trace, output: HeadRows(outputGradient),
        finalState: UnsafePointer(stateGradient.mutablePointer),
        into: DeltaRuleGradients(
          q: gradients[0].mutablePointer, k: gradients[1].mutablePointer, v: gradients[2].mutablePointer,
          beta: gradients[3].mutablePointer, decay: decay == nil ? nil : gradients[4].mutablePointer,
          initialState: gradients.last!.mutablePointer), kernels: kernels)
    }
    return [output.floats, final.floats] + gradients.map(\.floats)
  }

  /// What `results` should be.
  func expected() -> [[Double]] {
    let t = truth()
    return [t.output, t.finalState, t.q, t.k, t.v, t.beta] + (decay == nil ? [] : [t.decay]) + [t.state]
  }
}
