import BraidTestSupport
import CBraidKernels
import Foundation
import Testing

@testable import BraidTensor

/// Steps whose decays lie far from those of a trained model: the kernels take them by other ways.
@Suite struct SelectiveScanRangeTests {
  /// A scan without softplus, its gradient for given gradients of y and of the final state, and both in double
  /// precision.
  struct Case {
    let batch = 1
    var length: Int, channels: Int, states: Int
    var u, steps, decay, inputs, outputs, state, dy, dState: [Float]

    init(length: Int, channels: Int, states: Int, step: (_ t: Int, _ channel: Int, inout Philox) -> Float) {
      var g = Philox(seed: 5)
      func normal(_ count: Int) -> [Float] { Tensor.normal([count], using: &g).floats }
      (self.length, self.channels, self.states) = (length, channels, states)
      u = normal(length * channels)
      inputs = normal(length * states)
      outputs = normal(length * states)
      state = normal(channels * states)
      dy = normal(length * channels)
      dState = normal(channels * states)
      decay = Tensor.uniform([channels * states], in: -4 ... -0.25, using: &g).floats
      steps = []
      for t in 0..<length { for channel in 0..<channels { steps.append(step(t, channel, &g)) } }
    }

    struct Results {
      var y, state, du, dSteps, dDecay, dInputs, dOutputs, dState: [Double]
    }

    /// The loop and its adjoint.
    func truth() -> Results {
      var r = Results(
        y: [Double](repeating: 0, count: u.count), state: state.map(Double.init),
        du: [Double](repeating: 0, count: u.count), dSteps: [Double](repeating: 0, count: u.count),
        dDecay: [Double](repeating: 0, count: decay.count),
        dInputs: [Double](repeating: 0, count: inputs.count),
        dOutputs: [Double](repeating: 0, count: inputs.count), dState: dState.map(Double.init))
      for k in 0..<channels {
        for n in 0..<states {
          let s = k * states + n, a = Double(decay[s])
          var h = [r.state[s]]
          for t in 0..<length {
            let dt = Double(steps[t * channels + k]), x = dt * Double(u[t * channels + k])
            h.append(exp(dt * a) * h[t] + x * Double(inputs[t * states + n]))
            r.y[t * channels + k] += Double(outputs[t * states + n]) * h[t + 1]
          }
          r.state[s] = h[length]
          for t in (0..<length).reversed() {
            let at = t * channels + k, row = t * states + n
            let dt = Double(steps[at]), b = Double(inputs[row]), e = exp(dt * a)
            r.dOutputs[row] += Double(dy[at]) * h[t + 1]
            let g = r.dState[s] + Double(dy[at]) * Double(outputs[row])
            r.dInputs[row] += g * dt * Double(u[at])
            r.du[at] += g * dt * b
            r.dSteps[at] += g * (Double(u[at]) * b + a * e * h[t])
            r.dDecay[s] += g * dt * e * h[t]
            r.dState[s] = g * e
          }
        }
      }
      return r
    }

    /// What the kernels give.
    func computed(_ kernels: braid_scan_kernels) -> (y: [Float], state: [Float], gradients: [[Float]]) {
      let layout = ScanLayout(
        batch: 1, length: length, channels: channels, states: states, scans: 1, orders: [nil],
        channelsPerGroup: channels, softplus: false)
      var y = [Float](repeating: .nan, count: u.count), state = state
      var saved = [Float](
        repeating: .nan, count: CPU.scanSavedCount(layout, lanes: Int(kernels.lanes)))
      let sizes = [
        u.count, u.count, decay.count, inputs.count, inputs.count, channels, channels, state.count,
      ]
      let results = sizes.map { Tensor.uninitialized([$0]) }
      let into = results.map { $0.storage.pointer.assumingMemoryBound(to: Float.self) }
      u.withUnsafeBufferPointer { u in
        steps.withUnsafeBufferPointer { steps in
          decay.withUnsafeBufferPointer { decay in
            inputs.withUnsafeBufferPointer { inputs in
              outputs.withUnsafeBufferPointer { outputs in
                let arrays = ScanInputs(
                  u: u.baseAddress!, delta: steps.baseAddress!, a: decay.baseAddress!,
                  b: inputs.baseAddress!, c: outputs.baseAddress!)
                CPU.selectiveScan(
                  layout, arrays, state: &state, saved: &saved, y: &y, kernels: kernels)
                CPU.selectiveScanGradient(
                  layout, arrays, saved: saved, dy: dy, finalState: dState,
                  into: CPU.ScanGradients(
                    u: into[0], delta: into[1], a: into[2], b: into[3], c: into[4], d: into[5],
                    bias: into[6], initialState: into[7]),
                  kernels: kernels)
              }
            }
          }
        }
      }
      let gradients = [0, 1, 2, 3, 4, 7].map { results[$0].floats }
      return (y, state, gradients)
    }

    /// Elements of [length, channels] that belong to a channel.
    func column<T>(_ x: [T], _ channel: Int) -> [T] { (0..<length).map { x[$0 * channels + channel] } }
    func row<T>(_ x: [T], _ channel: Int) -> [T] { Array(x[channel * states..<(channel + 1) * states]) }
  }

  static let levels = [BRAID_LEVEL_BASE, BRAID_LEVEL_AVX2, BRAID_LEVEL_AVX512].map(\.rawValue)

  /// Relative, but absolute where the truth is as good as 0: no decay of the AVX-512 kernels is below 2^-113.
  private func error(_ x: [Float], _ truth: [Double]) -> Double {
    let size = truth.map(abs).max() ?? 0
    return relativeError(x, size < 1e-20 ? truth.map { _ in 0 } : truth)
  }

  private func check(_ problem: Case, _ level: UInt32, tolerance: Double) {
    guard let table = braid_kernels_at(braid_level(level)) else { return }
    let truth = problem.truth()
    let (y, state, gradients) = problem.computed(table.pointee.scan)
    for k in 0..<problem.channels {
      #expect(error(problem.column(y, k), problem.column(truth.y, k)) < tolerance, "y of \(k)")
      #expect(error(problem.row(state, k), problem.row(truth.state, k)) < tolerance, "h of \(k)")
      for (name, mine, right) in [("u", gradients[0], truth.du), ("steps", gradients[1], truth.dSteps)] {
        #expect(
          error(problem.column(mine, k), problem.column(right, k)) < tolerance, "\(name) of \(k)")
      }
      for (name, mine, right) in [
        ("decay", gradients[2], truth.dDecay), ("state", gradients[5], truth.dState),
      ] {
        #expect(error(problem.row(mine, k), problem.row(right, k)) < tolerance, "\(name) of \(k)")
      }
    }
    #expect(error(gradients[3], truth.dInputs) < tolerance)
    #expect(error(gradients[4], truth.dOutputs) < tolerance)
  }

  /// Decays from exactly 1 down to 0 in one vector of channels, at some steps only and at all. Where a step is the
  /// same every time, so is its decay's error.
  @Test(arguments: levels)
  func tinyAndHugeSteps(_ level: UInt32) {
    for (length, channels, states) in [(70, 19, 16), (33, 16, 8), (40, 7, 5)] {
      check(
        Case(length: length, channels: channels, states: states) { t, channel, g in
          let uniform = Tensor.uniform([1], using: &g).floats[0]
          switch channel % 6 {
          case 0: return 0.01 + uniform
          case 1: return t % 3 == 0 ? 1e-30 * uniform : 1e-6 * uniform
          case 2: return t % 2 == 0 ? 0 : 0.1
          case 3: return t % 17 == 0 ? 20 + 80 * uniform : uniform
          case 4: return 1e3 + 1e6 * uniform
          default: return t == 9 ? 1e20 : 0.05
          }
        }, level, tolerance: 2e-5)
    }
  }

  /// Negative steps make states grow. The exponent is rounded to float32 before it is raised, and is 80 here.
  @Test(arguments: levels)
  func growth(_ level: UInt32) {
    check(
      Case(length: 40, channels: 18, states: 16) { t, channel, _ in
        if channel == 3 { return t == 20 ? -20 : 2 }
        return t % 5 == 0 ? -0.7 : 0.3
      }, level, tolerance: 2e-5)
  }

  /// A step that is no number spoils its own channel from there on, and no other.
  @Test(arguments: levels)
  func stepsThatAreNoNumbers(_ level: UInt32) {
    guard let table = braid_kernels_at(braid_level(level)) else { return }
    func step(_ t: Int, _ channel: Int) -> Float { 0.01 * Float(1 + (t + channel) % 9) }
    let (sound, broken) = (4, [2: Float.nan, 9: .infinity])
    let clean = Case(length: 45, channels: 20, states: 16) { t, channel, _ in step(t, channel) }
    let spoilt = Case(length: 45, channels: 20, states: 16) { t, channel, _ in
      t == 37 ? broken[channel] ?? step(t, channel) : step(t, channel)
    }
    let (y, state, gradients) = spoilt.computed(table.pointee.scan)
    let (cleanY, cleanState, cleanGradients) = clean.computed(table.pointee.scan)
    #expect(spoilt.column(y, sound).filter { !$0.isFinite }.isEmpty)
    for k in 0..<20 {
      let (mine, right) = (spoilt.column(y, k), clean.column(cleanY, k))
      if broken[k] != nil {
        #expect(relativeError(Array(mine[..<37]), right[..<37].map(Double.init)) < 1e-6)
        #expect(mine[37...].filter { $0.isFinite }.isEmpty)
        #expect(spoilt.row(state, k).filter { $0.isFinite }.isEmpty)
      } else {
        #expect(relativeError(mine, right.map(Double.init)) < 1e-6)
        #expect(relativeError(spoilt.row(state, k), clean.row(cleanState, k).map(Double.init)) < 1e-6)
        for i in 0..<2 {
          let other = clean.column(cleanGradients[i], k).map(Double.init)
          #expect(relativeError(spoilt.column(gradients[i], k), other) < 1e-6)
        }
      }
    }
  }
}
