import BraidTestSupport
import CBraidKernels
import Foundation
import Testing

@testable import BraidTensor

@Suite struct DecayedAttentionTests {
  enum Kind: CaseIterable { case none, fixed, perToken, perChannel }
  /// How strong the decays are: none at all, weak, as strong as exp(-50), or weak with few of those between.
  enum Decays: CaseIterable { case zero, weak, moderate, strong, mixed, resets }

  struct Problem {
    var batch, length, heads, groups, keys, values: Int
    var kind: Kind
    var q, k, v, state: Tensor
    var decay: Tensor?
    var scale: Float = 0.7

    init(
      _ kind: Kind, _ decays: Decays = .weak, batch: Int = 2, length: Int, heads: Int = 2, groups: Int? = nil,
      keys: Int = 16, values: Int = 16, seed: UInt64 = 1
    ) {
      var g = Philox(seed: seed)
      (self.batch, self.length, self.heads, self.keys, self.values) = (batch, length, heads, keys, values)
      self.groups = groups ?? heads
      self.kind = kind
      q = .normal([batch, length, self.groups, keys], using: &g)
      k = .normal([batch, length, self.groups, keys], using: &g)
      v = .normal([batch, length, heads, values], using: &g)
      state = .normal([batch, heads, keys, values], using: &g)
      let shape: Shape =
        switch kind {
        case .none: [0]
        case .fixed: [heads]
        case .perToken: [batch, length, heads]
        case .perChannel: [batch, length, heads, keys]
        }
      guard kind != .none else { return }
      let count = shape.elementCount
      let uniform = Tensor.uniform([count], in: 0...1, using: &g).floats
      let chance = Tensor.uniform([count], in: 0...1, using: &g).floats
      let numbers = zip(uniform, chance).map { x, p -> Float in
        switch decays {
        case .zero: 0
        case .weak: -0.2 * x
        case .moderate: -1.5 * x
        case .strong: -50 * x
        case .mixed: p < 0.1 ? -50 * x : -0.05 * x
        case .resets: p < 0.1 ? -.infinity : -0.05 * x
        }
      }
      decay = Tensor(numbers, shape: shape)
    }

    /// The literal loop in double precision.
    func truth() -> (output: [Double], state: [Double]) {
      let (q, k, v) = (q.floats.map(Double.init), k.floats.map(Double.init), v.floats.map(Double.init))
      let g = decay?.floats.map(Double.init) ?? []
      var s = state.floats.map(Double.init)
      var output = [Double](repeating: 0, count: v.count)
      for b in 0..<batch {
        for h in 0..<heads {
          for t in 0..<length {
            let row = ((b * length + t) * groups + h / (heads / groups)) * keys
            let column = ((b * length + t) * heads + h) * values
            for d in 0..<keys {
              let x: Double
              switch kind {
              case .none: x = 0
              case .fixed: x = g[h]
              case .perToken: x = g[(b * length + t) * heads + h]
              case .perChannel: x = g[((b * length + t) * heads + h) * keys + d]
              }
              for e in 0..<values {
                let at = ((b * heads + h) * keys + d) * values + e
                s[at] = exp(x) * s[at] + k[row + d] * v[column + e]
                output[column + e] += Double(scale) * q[row + d] * s[at]
              }
            }
          }
        }
      }
      return (output, s)
    }

    func attend(_ x: [Tensor]) -> (output: Tensor, finalState: Tensor) {
      switch kind {
      case .none:
        decayedLinearAttention(x[0], x[1], x[2], scale: scale, initialState: x[3])
      case .perChannel:
        gatedLinearAttention(x[0], x[1], x[2], logDecay: x[4], scale: scale, initialState: x[3])
      case .fixed, .perToken:
        decayedLinearAttention(x[0], x[1], x[2], logDecay: x[4], scale: scale, initialState: x[3])
      }
    }
    var arguments: [Tensor] { [q, k, v, state] + [decay].compactMap { $0 } }
    func attend() -> (output: Tensor, finalState: Tensor) { attend(arguments) }

    func withInputs(_ body: (DecayedAttentionLayout, DecayedAttentionInputs) -> Void) {
      let kinds: [Kind: DecayedAttentionLayout.Decay] = [
        .none: .none, .fixed: .fixed, .perToken: .perToken, .perChannel: .perChannel,
      ]
      let layout = DecayedAttentionLayout(
        batch: batch, length: length, heads: heads, groups: groups, keys: keys, values: values,
        decay: kinds[kind]!, scale: scale, isFresh: false)
      func rows(_ p: UnsafePointer<Float>, _ heads: Int, _ width: Int) -> DecayedRows {
        DecayedRows(pointer: p, batch: length * heads * width, token: heads * width, head: width)
      }
      q.read { q in
        k.read { k in
          v.read { v in
            (decay ?? .zeros([1])).read { g in
              var inputs = DecayedAttentionInputs(
                q: rows(q, groups, keys), k: rows(k, groups, keys), v: rows(v, heads, values))
              switch kind {
              case .none: break
              case .fixed: inputs.decay = DecayedRows(pointer: g, batch: 0, token: 0, head: 1)
              case .perToken: inputs.decay = rows(g, heads, 1)
              case .perChannel: inputs.decay = rows(g, heads, keys)
              }
              body(layout, inputs)
            }
          }
        }
      }
    }
  }

  @Test(arguments: allLevels.map(\.rawValue), Kind.allCases)
  func everyLevelMatchesTheLoop(_ level: UInt32, _ kind: Kind) {
    let kernels = braid_kernels_at(braid_level(level)).pointee.recurrence
    for (length, keys, values) in [(1, 1, 1), (63, 20, 17), (65, 16, 40), (130, 33, 8)] {
      for decays in kind == .none ? [.zero] : Decays.allCases {
        let p = Problem(kind, decays, length: length, keys: keys, values: values)
        let truth = p.truth()
        var output = [Float](repeating: .nan, count: p.v.elementCount)
        var state = p.state.floats
        poisonMemory(200_000)
        p.withInputs { layout, inputs in
          CPU.decayedAttention(layout, inputs, state: &state, saved: nil, o: &output, kernels: kernels)
        }
        #expect(relativeError(output, truth.output) < 2e-6, "\(kind), \(decays), \(length)")
        #expect(relativeError(state, truth.state) < 2e-6, "\(kind), \(decays), \(length)")
      }
    }
  }

  @Test(arguments: [1, 63, 64, 65, 1000], [Kind.fixed, .perToken, .perChannel])
  func lengthsMatchTheLoop(_ length: Int, _ kind: Kind) {
    for (decays, groups) in [(Decays.zero, 2), (.weak, 1), (.moderate, 2), (.strong, 2), (.mixed, 2)] {
      let p = Problem(
        kind, decays, batch: 1, length: length, groups: kind == .perChannel ? 2 : groups, keys: 32,
        values: 24,
        seed: 3)
      let truth = p.truth()
      poisonMemory(200_000)
      let (output, state) = p.attend()
      #expect(relativeError(output.floats, truth.output) < 3e-6, "\(decays)")
      #expect(relativeError(state.floats, truth.state) < 3e-6, "\(decays)")
    }
  }

  @Test(arguments: Kind.allCases, [1, 70])
  func gradients(_ kind: Kind, _ length: Int) {
    for decays in kind == .none ? [.zero] : [Decays.weak, .moderate] {
      let p = Problem(
        kind, decays, batch: 2, length: length, heads: 4, groups: kind == .perChannel ? 4 : 2, keys: 5,
        values: 20,
        seed: 9)
      poisonMemory(200_000)
      let error = gradientError(p.arguments, samples: 16) { x in
        let (output, state) = p.attend(x)
        return Tensor.concatenated([output.reshaped(-1), state.reshaped(-1)], axis: 0)
      }
      #expect(error < 2e-3, "\(decays)")
    }
  }

  /// The gradient of the backward pass at every level against that of the literal loop, by autograd.
  @Test(arguments: allLevels.map(\.rawValue), [Kind.fixed, .perToken, .perChannel])
  func everyLevelHasTheLoopsGradient(_ level: UInt32, _ kind: Kind) {
    let kernels = braid_kernels_at(braid_level(level)).pointee.recurrence
    for decays in [Decays.zero, .weak, .moderate, .strong, .mixed] {
      let p = Problem(kind, decays, batch: 1, length: 75, heads: 2, keys: 18, values: 9, seed: 5)
      var g = Philox(seed: 8)
      let doutput = Tensor.normal(p.v.shape, using: &g)
      let dstate = Tensor.normal(p.state.shape, using: &g)
      let expected = literalGradients(p, doutput, dstate)
      let isScalar = kind != .perChannel
      var (dq, dk, dv) = (p.q.floats, p.k.floats, p.v.floats)
      var ddecay = [Float](repeating: .nan, count: p.length * 2 * (isScalar ? 1 : p.keys))
      var state = p.state.floats
      var final = dstate.floats
      var output = p.v.floats
      poisonMemory(200_000)
      p.withInputs { layout, inputs in
        var saved = [Float](repeating: .nan, count: layout.stateCount * layout.chunks)
        CPU.decayedAttention(layout, inputs, state: &state, saved: &saved, o: &output, kernels: kernels)
        doutput.read { doutput in
          dq.withUnsafeMutableBufferPointer { dq in
            dk.withUnsafeMutableBufferPointer { dk in
              dv.withUnsafeMutableBufferPointer { dv in
                ddecay.withUnsafeMutableBufferPointer { ddecay in
                  final.withUnsafeMutableBufferPointer { final in
                    CPU.decayedAttentionGradient(
                      layout, inputs, saved: saved, do: doutput,
                      into: CPU.DecayedAttentionGradients(
                        q: dq.baseAddress!, k: dk.baseAddress!, v: dv.baseAddress!,
                        decay: ddecay.baseAddress!,
                        state: final.baseAddress!), kernels: kernels)
                  }
                }
              }
            }
          }
        }
      }
      for (name, actual, truth) in [
        ("q", dq, expected[0]), ("k", dk, expected[1]), ("v", dv, expected[2]), ("state", final, expected[3]),
        ("decay", ddecay, expected[4]),
      ] {
        // Strong decays leave a gradient of the decays that is small beside what cancels in it.
        let bound = name == "decay" ? 2e-5 : 3e-6
        #expect(relativeError(actual, truth) < bound, "\(kind), \(decays), \(name)")
      }
    }
  }

  /// Gradients of q, k, v, the first state and every token's decay, by the recurrence backwards in double precision.
  func literalGradients(_ p: Problem, _ doutput: Tensor, _ dstate: Tensor) -> [[Double]] {
    let (q, k, v) = (p.q.floats.map(Double.init), p.k.floats.map(Double.init), p.v.floats.map(Double.init))
    let (d_o, g) = (doutput.floats.map(Double.init), p.decay!.floats.map(Double.init))
    let (keys, values, heads, length) = (p.keys, p.values, p.heads, p.length)
    let isScalar = p.kind != .perChannel
    let first = p.state.floats.map(Double.init)
    var (dq, dk, dv) = (q.map { _ in 0.0 }, k.map { _ in 0.0 }, v.map { _ in 0.0 })
    var ds = dstate.floats.map(Double.init)
    var dg = [Double](repeating: 0, count: length * heads * (isScalar ? 1 : keys))
    for h in 0..<heads {
      func decay(_ t: Int, _ d: Int) -> Double {
        switch p.kind {
        case .fixed: exp(g[h])
        case .perToken: exp(g[t * heads + h])
        default: exp(g[(t * heads + h) * keys + d])
        }
      }
      var states = [Array(first[h * keys * values..<(h + 1) * keys * values])]
      for t in 0..<length {
        var s = states[t]
        for d in 0..<keys {
          for e in 0..<values {
            s[d * values + e] =
              decay(t, d) * s[d * values + e] + k[(t * heads + h) * keys + d]
              * v[(t * heads + h) * values + e]
          }
        }
        states.append(s)
      }
      for t in (0..<length).reversed() {
        for d in 0..<keys {
          let row = (t * heads + h) * keys + d
          for e in 0..<values {
            let column = (t * heads + h) * values + e
            let at = (h * keys + d) * values + e
            dq[row] += Double(p.scale) * d_o[column] * states[t + 1][d * values + e]
            ds[at] += Double(p.scale) * q[row] * d_o[column]
            dk[row] += ds[at] * v[column]
            dv[column] += ds[at] * k[row]
            dg[isScalar ? t * heads + h : row] += ds[at] * decay(t, d) * states[t][d * values + e]
            ds[at] *= decay(t, d)
          }
        }
      }
    }
    return [dq, dk, dv, ds, dg]
  }

  @Test(arguments: Kind.allCases)
  func stateCarriesAcrossAnySplit(_ kind: Kind) {
    let p = Problem(kind, .mixed, length: 150, keys: 24, values: 16)
    let whole = p.attend()
    for cut in [1, 64, 149] {
      func part(_ range: Range<Int>, _ state: Tensor) -> (output: Tensor, finalState: Tensor) {
        var x = [p.q, p.k, p.v].map { $0.sliced(axis: 1, range) } + [state]
        if let decay = p.decay { x.append(kind == .fixed ? decay : decay.sliced(axis: 1, range)) }
        return p.attend(x)
      }
      let first = part(0..<cut, p.state)
      let second = part(cut..<150, first.finalState)
      #expect(
        relativeError(Tensor.concatenated([first.output, second.output], axis: 1), whole.output) < 2e-6)
      #expect(relativeError(second.finalState, whole.finalState) < 2e-6)
    }
  }

  /// Rows that lie apart, no first state, many heads of a group and values split among threads.
  @Test func stridedInputsAndSplits() {
    let p = Problem(.perToken, length: 100, heads: 15, groups: 1, keys: 16, values: 8)
    let joined = Tensor.concatenated([p.q, p.k], axis: 3)
    let zero = Tensor.zeros(p.state.shape)
    let whole = decayedLinearAttention(p.q, p.k, p.v, logDecay: p.decay, initialState: zero)
    let strided = decayedLinearAttention(
      joined.sliced(axis: 3, 0..<16), joined.sliced(axis: 3, 16..<32),
      p.v.transposed(1, 2).contiguous().transposed(1, 2), logDecay: p.decay)
    #expect(strided.output.floats == whole.output.floats)
    #expect(strided.finalState.floats == whole.finalState.floats)
    let threads = ThreadPool.threads
    defer { ThreadPool.threads = threads }
    let one = Problem(.perChannel, batch: 1, length: 90, heads: 1, keys: 12, values: 48)
    func all() -> [Tensor] {
      let leaves = one.arguments.map { $0.requiringGradient() }
      let (output, state) = one.attend(leaves)
      let gradients = (output.squared().sum() + state.sum()).gradients(for: leaves)
      return [output.detached, state.detached] + gradients
    }
    ThreadPool.threads = 1
    let serial = all()
    ThreadPool.threads = 4
    for (a, b) in zip(serial, all()) { #expect(relativeError(b, a) < 2e-6) }
  }
}
