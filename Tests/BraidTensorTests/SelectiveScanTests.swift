import BraidTestSupport
import CBraidKernels
import Foundation
import Testing

@testable import BraidTensor

@Suite struct SelectiveScanTests {
  struct Problem {
    var batch, length, channels, states, groups: Int
    var u, steps, decay, inputs, outputs, skip, bias, state: Tensor

    init(batch: Int, length: Int, channels: Int, states: Int, groups: Int = 1, seed: UInt64 = 1) {
      var g = Philox(seed: seed)
      (self.batch, self.length, self.channels, self.states, self.groups) = (
        batch, length, channels, states, groups
      )
      u = .normal([batch, length, channels], using: &g)
      steps = .normal([batch, length, channels], using: &g)
      decay = .uniform([channels, states], in: -4 ... -0.05, using: &g)
      inputs = .normal([batch, length, groups, states], using: &g)
      outputs = .normal([batch, length, groups, states], using: &g)
      skip = .normal([channels], using: &g)
      bias = .normal([channels], mean: -2, using: &g)
      state = .normal([batch, channels, states], using: &g)
    }

    /// The literal loop in double precision.
    func truth() -> (y: [Double], state: [Double]) {
      let (u, dt, a) = (
        u.floats.map(Double.init), steps.floats.map(Double.init), decay.floats.map(Double.init)
      )
      let (b, c, d) = (
        inputs.floats.map(Double.init), outputs.floats.map(Double.init), skip.floats.map(Double.init)
      )
      let bias = bias.floats.map(Double.init)
      var h = state.floats.map(Double.init)
      var y = [Double](repeating: 0, count: u.count)
      for i in 0..<batch {
        for t in 0..<length {
          for k in 0..<channels {
            let at = (i * length + t) * channels + k
            let step = log1p(exp(dt[at] + bias[k]))
            let row = ((i * length + t) * groups + k / (channels / groups)) * states
            y[at] = d[k] * u[at]
            for n in 0..<states {
              let s = (i * channels + k) * states + n
              h[s] = exp(step * a[k * states + n]) * h[s] + step * u[at] * b[row + n]
              y[at] += c[row + n] * h[s]
            }
          }
        }
      }
      return (y, h)
    }
  }

  @Test(arguments: [BRAID_LEVEL_BASE, BRAID_LEVEL_AVX2, BRAID_LEVEL_AVX512].map(\.rawValue))
  func everyLevelMatchesTheLoop(_ level: UInt32) throws {
    guard let table = braid_kernels_at(braid_level(level)) else { return }
    for (length, channels, states, groups) in [
      (1, 1, 1, 1), (63, 17, 8, 1), (65, 48, 16, 3), (130, 5, 3, 1), (20, 9, 21, 1),
    ] {
      let p = Problem(batch: 2, length: length, channels: channels, states: states, groups: groups)
      let layout = ScanLayout(
        batch: 2, length: length, channels: channels, states: states, scans: 1, orders: [nil],
        channelsPerGroup: channels / groups, softplus: true)
      let truth = p.truth()
      var y = [Float](repeating: .nan, count: 2 * length * channels)
      var state = p.state.floats
      p.u.read { u in
        p.steps.read { steps in
          p.decay.read { decay in
            p.inputs.read { inputs in
              p.outputs.read { outputs in
                p.skip.read { skip in
                  p.bias.read { bias in
                    CPU.selectiveScan(
                      layout,
                      ScanInputs(u: u, delta: steps, a: decay, b: inputs, c: outputs, d: skip, bias: bias),
                      state: &state, saved: nil, y: &y, kernels: table.pointee.scan)
                  }
                }
              }
            }
          }
        }
      }
      #expect(relativeError(y, truth.y) < 2e-6)
      #expect(relativeError(state, truth.state) < 2e-6)
    }
  }

  @Test(arguments: [(1, 3, 2, 1), (40, 18, 8, 1), (35, 20, 16, 2), (9, 5, 3, 5), (70, 18, 5, 1)])
  func gradients(_ length: Int, _ channels: Int, _ states: Int, _ groups: Int) {
    let p = Problem(batch: 2, length: length, channels: channels, states: states, groups: groups, seed: 9)
    let error = gradientError([p.u, p.steps, p.decay, p.inputs, p.outputs, p.skip, p.bias, p.state]) { x in
      let (y, final) = selectiveScan(
        x[0], steps: x[1], decay: x[2], inputs: x[3], outputs: x[4], skip: x[5], stepBias: x[6],
        initialState: x[7])
      return Tensor.concatenated([y.reshaped(-1), final.reshaped(-1)], axis: 0)
    }
    #expect(error < 2e-3)
    let plain = gradientError([p.u, p.steps.squared() * 0.1, p.decay, p.inputs, p.outputs]) { x in
      selectiveScan(x[0], steps: x[1], decay: x[2], inputs: x[3], outputs: x[4], softplus: false).output
    }
    #expect(plain < 2e-3)
  }

  /// B and C as parts of one projection's rows, which are not copied.
  @Test(arguments: [1, 3])
  func partsOfRows(_ groups: Int) {
    let p = Problem(batch: 2, length: 37, channels: 18, states: 8, groups: groups)
    let size = groups * 8
    var g = Philox(seed: 8)
    let rows = Tensor.normal([2, 37, 5 + 2 * size], using: &g)
    func scan(_ x: [Tensor], copying: Bool) -> Tensor {
      let parts = x[0].split([5, size, size], axis: -1)[1...].map {
        (copying ? $0.contiguous() : $0).reshaped(2, 37, groups, 8)
      }
      return selectiveScan(
        x[1], steps: x[2], decay: p.decay, inputs: groups == 1 ? parts[0].squeezed(2) : parts[0],
        outputs: groups == 1 ? parts[1].squeezed(2) : parts[1], skip: p.skip
      ).output
    }
    let x = [rows, p.u, p.steps]
    #expect(scan(x, copying: false).floats == scan(x, copying: true).floats)
    let leaves = x.map { $0.requiringGradient() }
    let gradients = [false, true].map { copying in
      let y = scan(leaves, copying: copying)
      return y.gradients(for: leaves, seed: y.detached).map(\.floats)
    }
    #expect(gradients[0] == gradients[1])
  }

  @Test func stateCarriesAcrossAnySplit() {
    let p = Problem(batch: 1, length: 70, channels: 19, states: 16)
    let whole = selectiveScan(
      p.u, steps: p.steps, decay: p.decay, inputs: p.inputs, outputs: p.outputs, skip: p.skip,
      stepBias: p.bias,
      initialState: p.state)
    for cut in [1, 32, 69] {
      func part(_ range: Range<Int>, _ state: Tensor) -> (output: Tensor, finalState: Tensor) {
        selectiveScan(
          p.u.sliced(axis: 1, range), steps: p.steps.sliced(axis: 1, range), decay: p.decay,
          inputs: p.inputs.sliced(axis: 1, range), outputs: p.outputs.sliced(axis: 1, range), skip: p.skip,
          stepBias: p.bias, initialState: state)
      }
      let first = part(0..<cut, p.state)
      let second = part(cut..<70, first.finalState)
      #expect(Tensor.concatenated([first.output, second.output], axis: 1).floats == whole.output.floats)
      #expect(second.finalState.floats == whole.finalState.floats)
    }
  }

  @Test(arguments: [(1, 1), (3, 5), (8, 7), (9, 15)])
  func fourDirectionsAreFourSequences(_ height: Int, _ width: Int) {
    let (channels, states, length) = (18, 8, height * width)
    var g = Philox(seed: 4)
    let u = Tensor.normal([2, height, width, channels], using: &g)
    let steps = Tensor.normal([2, height, width, 4 * channels], using: &g)
    let decay = Tensor.uniform([4 * channels, states], in: -4 ... -0.05, using: &g)
    let inputs = Tensor.normal([2, height, width, 4, states], using: &g)
    let outputs = Tensor.normal([2, height, width, 4, states], using: &g)
    let skip = Tensor.normal([4 * channels], using: &g)
    let bias = Tensor.normal([4 * channels], using: &g)
    let fused = selectiveScan2D(
      u, steps: steps, decay: decay, inputs: inputs, outputs: outputs, skip: skip, stepBias: bias)
    var sum = Tensor.zeros(u.shape)
    for direction in 0..<4 {
      func ordered(_ x: Tensor) -> Tensor {
        let y = direction % 2 == 1 ? x.transposed(1, 2) : x
        let flat = y.reshaped(2, length, -1)
        return direction >= 2 ? flat.flipped(axis: 1) : flat
      }
      let mine = direction * channels..<(direction + 1) * channels
      let y = selectiveScan(
        ordered(u), steps: ordered(steps.sliced(axis: 3, mine)), decay: decay.sliced(axis: 0, mine),
        inputs: ordered(inputs.selected(axis: 3, direction)),
        outputs: ordered(outputs.selected(axis: 3, direction)),
        skip: skip.sliced(axis: 0, mine), stepBias: bias.sliced(axis: 0, mine)
      ).output
      let back = direction >= 2 ? y.flipped(axis: 1) : y
      sum +=
        direction % 2 == 1
        ? back.reshaped(2, width, height, channels).transposed(1, 2)
        : back.reshaped(2, height, width, channels)
    }
    #expect(relativeError(fused, sum) < 2e-6)
    let error = gradientError([u, steps, decay, inputs, outputs, skip, bias], samples: 12) { x in
      selectiveScan2D(x[0], steps: x[1], decay: x[2], inputs: x[3], outputs: x[4], skip: x[5], stepBias: x[6])
    }
    #expect(error < 2e-3)
  }
}
