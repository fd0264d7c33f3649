import BraidTestSupport
import Foundation
import Testing

@testable import BraidTensor

@Suite struct FourierTests {
  /// sum over t of x[t] exp(sign 2 pi i k t / n), in double.
  private func transform(_ x: [(Double, Double)], _ sign: Double) -> [(Double, Double)] {
    let n = x.count
    return (0..<n).map { k in
      var (re, im) = (0.0, 0.0)
      for t in 0..<n {
        let angle = sign * 2 * Double.pi * Double(k * t % n) / Double(n)
        let (c, s) = (cos(angle), sin(angle))
        re += x[t].0 * c - x[t].1 * s
        im += x[t].0 * s + x[t].1 * c
      }
      return (re, im)
    }
  }

  @Test(arguments: [1, 2, 7, 9, 12, 15])
  func realTransformsMatchTorch(_ length: Int) {
    let x = OperationFixture["rfft.\(length).input"]
    let z = OperationFixture["irfft.\(length).input"]
    poisonMemory(2 * length + 4)
    for scaling in FourierScaling.allCases {
      let spectrum = x.realFourierTransformed(scaling: scaling)
      #expect(relativeError(spectrum, OperationFixture["rfft.\(length).\(scaling.rawValue)"]) < 1e-6)
      #expect(
        relativeError(spectrum.inverseRealFourierTransformed(length: length, scaling: scaling), x) < 1e-6)
      #expect(
        relativeError(
          z.inverseRealFourierTransformed(length: length, scaling: scaling),
          OperationFixture["irfft.\(length).\(scaling.rawValue)"]) < 1e-6)
      #expect(gradientError([x]) { $0[0].realFourierTransformed(scaling: scaling) } < 1e-3)
      #expect(
        gradientError([z]) { $0[0].inverseRealFourierTransformed(length: length, scaling: scaling) } < 1e-3)
    }
  }

  @Test(arguments: [1, 2, 3, 8, 11, 30, 97, 256, 1000])
  func complexTransformsMatchTheDefinition(_ length: Int) {
    var generator = Philox(seed: UInt64(length))
    let x = Tensor.normal([2, length, 2], using: &generator)
    let values = x.floats
    for inverse in [false, true] {
      let expected = (0..<2).flatMap { row -> [Double] in
        let signal = (0..<length).map { t -> (Double, Double) in
          let at = 2 * (row * length + t)
          return (Double(values[at]), Double(values[at + 1]))
        }
        let scale = inverse ? 1 / Double(length) : 1
        return transform(signal, inverse ? 1 : -1).flatMap { [$0.0 * scale, $0.1 * scale] }
      }
      #expect(relativeError(x.fourierTransformed(inverse: inverse).floats, expected) < 2e-6)
    }
    #expect(relativeError(x.fourierTransformed().fourierTransformed(inverse: true), x) < 2e-6)
    #expect(gradientError([x]) { $0[0].fourierTransformed(scaling: .ortho) } < 1e-3)
    #expect(gradientError([x], step: 0.1) { $0[0].fourierTransformed(inverse: true) } < 1e-3)
    let real = Tensor.normal([3, length], using: &generator)
    let full = Tensor.stacked([real, Tensor.zeros(real.shape)], axis: 2).fourierTransformed()
    #expect(
      relativeError(real.realFourierTransformed(), full.sliced(axis: 1, 0..<length / 2 + 1)) < 2e-6)
  }

  @Test(arguments: [(1, 1), (5, 3), (64, 64), (65, 17), (100, 130)])
  func longConvolutionMatchesTheDefinition(_ length: Int, _ taps: Int) {
    var generator = Philox(seed: 9)
    let x = Tensor.normal([2, length, 3], using: &generator)
    let filter = Tensor.normal([3, taps], using: &generator)
    let (px, pf) = (x.floats, filter.floats)
    var expected: [Double] = []
    for b in 0..<2 {
      for t in 0..<length {
        for d in 0..<3 {
          expected.append(
            (0...min(t, taps - 1)).reduce(0.0) {
              $0 + Double(pf[d * taps + $1]) * Double(px[(b * length + t - $1) * 3 + d])
            })
        }
      }
    }
    poisonMemory(4 * length)
    #expect(relativeError(x.longConvolved(filter).floats, expected) < 2e-6)
    #expect(gradientError([x, filter]) { $0[0].longConvolved($0[1]) } < 1e-3)
  }

  /// A row's transform does not depend on its neighbours, nor on whether its group of lanes is full.
  @Test(arguments: [2, 4, 6, 10, 16, 18, 30, 50, 96, 480, 1000, 2048, 14, 9])
  func rowsAreIndependent(_ length: Int) {
    var generator = Philox(seed: UInt64(length))
    let x = Tensor.normal([37, length], using: &generator)
    let z = Tensor.normal([37, length / 2 + 1, 2], using: &generator)
    let c = Tensor.normal([37, length, 2], using: &generator)
    func byRows(_ x: Tensor, _ function: (Tensor) -> Tensor) -> Tensor {
      Tensor.concatenated((0..<37).map { function(x.sliced(axis: 0, $0..<$0 + 1)) }, axis: 0)
    }
    func agree(_ x: Tensor, _ function: (Tensor) -> Tensor) -> Bool {
      poisonMemory(40 * (length + 2))
      return function(x).floats == byRows(x, function).floats
    }
    #expect(agree(x) { $0.realFourierTransformed(scaling: .ortho) })
    #expect(agree(z) { $0.inverseRealFourierTransformed(length: length) })
    #expect(agree(c) { $0.fourierTransformed() })
    #expect(agree(c) { $0.fourierTransformed(inverse: true) })
    #expect(gradientError([x]) { $0[0].realFourierTransformed() } < 1e-3)
    #expect(
      gradientError([z]) { $0[0].inverseRealFourierTransformed(length: length, scaling: .ortho) } < 1e-3)
  }

  @Test func fastLengthsAreEvenAndSmooth() {
    for length in [1, 2, 3, 7, 11, 121, 127, 1025, 4097] {
      let size = CPU.fastFourierLength(length)
      #expect(size >= length && size % 2 == 0 && size <= 2 * length + 2)
      var rest = size
      for prime in [2, 3, 5] { while rest % prime == 0 { rest /= prime } }
      #expect(rest == 1)
    }
  }

  /// Vector lanes and KissFFT against each other.
  @Test func veryLongSignals() {
    var generator = Philox(seed: 11)
    let x = Tensor.normal([4, 1 << 17], using: &generator)
    let single = x.sliced(axis: 0, 3..<4)
    let spectrum = x.realFourierTransformed().sliced(axis: 0, 3..<4)
    #expect(relativeError(single.realFourierTransformed(), spectrum) < 1e-6)
    #expect(relativeError(spectrum.inverseRealFourierTransformed(length: 1 << 17), single) < 1e-6)
  }

  @Test func plansServeManyThreads() {
    var generator = Philox(seed: 10)
    let x = Tensor.normal([64, 480], using: &generator)
    let parallel = x.realFourierTransformed().floats
    let threads = ThreadPool.threads
    ThreadPool.threads = 1
    #expect(x.realFourierTransformed().floats == parallel)
    ThreadPool.threads = threads
  }
}
