import BraidTensor
import BraidTestSupport
import Foundation
import Testing

@testable import BraidSpeech

/// The losses against the formulas as written, in double precision.
@Suite struct EnhancementLossTests {
  static let transform = ShortTimeFourier(size: 16, hop: 4)

  /// A made-up estimate for a clean signal [2, 40]: the spectrum of another signal.
  private func pair() -> (estimate: SpeechEstimate, clean: Tensor) {
    var draw = Philox(seed: 11)
    let clean = Tensor.normal([2, 40], using: &draw)
    let magnitude = Tensor.uniform([2, 11, 9], in: 0.1...2, using: &draw)
    let angle = Tensor.uniform([2, 11, 9], in: -3...3, using: &draw)
    let spectrum = Tensor.stacked([magnitude * angle.cosine(), magnitude * angle.sine()], axis: -1)
    return (
      SpeechEstimate(magnitude: magnitude, spectrum: spectrum, signal: .normal([2, 40], using: &draw)), clean
    )
  }

  private func value(_ loss: EnhancementLoss) -> Double {
    let (estimate, clean) = pair()
    return Double(loss(estimate, clean: clean, transform: Self.transform, compression: 0.3).item)
  }

  private static let none = EnhancementLoss(magnitude: 0, phase: 0, complex: 0, time: 0, consistency: 0)

  /// Compressed spectra [batch][frame][bin] of signals by the definition of the transform.
  private func spectra(_ signals: Tensor) -> [[[(re: Double, im: Double)]]] {
    let length = signals.shape[1]
    let samples = signals.floats.map(Double.init)
    return (0..<signals.shape[0]).map { row in
      (0...length / 4).map { t in
        (0..<9).map { bin in
          var (re, im) = (0.0, 0.0)
          for i in 0..<16 {
            var n = t * 4 + i - 8
            if n < 0 { n = -n }
            if n >= length { n = 2 * (length - 1) - n }
            let x = samples[row * length + n] * (0.5 - 0.5 * cos(2 * .pi * Double(i) / 16))
            re += x * cos(2 * .pi * Double(bin * i) / 16)
            im -= x * sin(2 * .pi * Double(bin * i) / 16)
          }
          if bin == 0 || bin == 8 || t == 0 { im = 0 }
          let size = pow(re * re + im * im + 1e-30, -0.35)
          return (re * size, im * size)
        }
      }
    }
  }

  @Test func magnitudesAndSpectra() {
    let (estimate, clean) = pair()
    let truth = spectra(clean)
    let (m, s) = (estimate.magnitude.floats.map(Double.init), estimate.spectrum.floats.map(Double.init))
    var (magnitude, complex) = (0.0, 0.0)
    for b in 0..<2 {
      for t in 0..<11 {
        for f in 0..<9 {
          let i = (b * 11 + t) * 9 + f
          let (re, im) = truth[b][t][f]
          magnitude += pow(m[i] - (re * re + im * im).squareRoot(), 2) / 198
          complex += (pow(s[2 * i] - re, 2) + pow(s[2 * i + 1] - im, 2)) / 396
        }
      }
    }
    var loss = Self.none
    loss.magnitude = 0.9
    #expect(abs(value(loss) - 0.9 * magnitude) < 1e-5 * magnitude)
    loss = Self.none
    loss.complex = 0.1
    #expect(abs(value(loss) - 0.2 * complex) < 1e-5 * complex)
  }

  @Test func phasesByThePublishedMatrix() {
    let (estimate, clean) = pair()
    let truth = spectra(clean)
    let s = estimate.spectrum.floats.map(Double.init)
    func unwrapped(_ x: Double) -> Double { abs(x - 2 * .pi * (x / (2 * .pi)).rounded(.toNearestOrEven)) }
    // -1 on the diagonal, +1 above it.
    func steps(_ row: [Double]) -> [Double] {
      row.indices.map { j in
        row.indices.reduce(0.0) { $0 + row[$1] * ($1 == j ? -1 : $1 == j - 1 ? 1 : 0) }
      }
    }
    var sum = 0.0
    for b in 0..<2 {
      let difference = (0..<11).map { t in
        (0..<9).map { f in
          let i = (b * 11 + t) * 9 + f
          return atan2(s[2 * i + 1], s[2 * i]) - atan2(truth[b][t][f].im, truth[b][t][f].re)
        }
      }
      for t in 0..<11 {
        sum += difference[t].reduce(0.0) { $0 + unwrapped($1) }
        sum += steps(difference[t]).reduce(0.0) { $0 + unwrapped($1) }
      }
      for f in 0..<9 { sum += steps(difference.map { $0[f] }).reduce(0.0) { $0 + unwrapped($1) } }
    }
    var loss = Self.none
    loss.phase = 0.3
    #expect(abs(value(loss) - 0.3 * sum / 198) < 1e-4)
  }

  @Test func signalsAndConsistency() {
    let (estimate, clean) = pair()
    let (x, r) = (estimate.signal.floats.map(Double.init), clean.floats.map(Double.init))
    var loss = Self.none
    loss.time = 0.2
    let distance = zip(x, r).reduce(0.0) { $0 + abs($1.0 - $1.1) } / 80
    #expect(abs(value(loss) - 0.2 * distance) < 1e-6)

    let again = spectra(estimate.signal)
    let s = estimate.spectrum.floats.map(Double.init)
    var sum = 0.0
    for i in 0..<198 {
      let (re, im) = again[i / 99][i / 9 % 11][i % 9]
      sum += pow(s[2 * i] - re, 2) + pow(s[2 * i + 1] - im, 2)
    }
    loss = Self.none
    loss.consistency = 0.1
    #expect(abs(value(loss) - 0.2 * sum / 396) < 1e-5)

    loss = Self.none
    loss.siSDR = 0.5
    let ratios = (0..<2).map { row in
      SpeechQuality.scaleInvariantRatio(
        estimate.signal.selected(axis: 0, row).floats, reference: clean.selected(axis: 0, row).floats)
    }
    #expect(abs(value(loss) + 0.25 * (ratios[0] + ratios[1])) < 1e-4)
  }

  @Test func termsAddUp() {
    let single = [0.9, 0.3, 0.1, 0.2, 0.1, 0.05].enumerated().map { index, weight -> Double in
      var loss = Self.none
      switch index {
      case 0: loss.magnitude = Float(weight)
      case 1: loss.phase = Float(weight)
      case 2: loss.complex = Float(weight)
      case 3: loss.time = Float(weight)
      case 4: loss.consistency = Float(weight)
      default: loss.siSDR = Float(weight)
      }
      return value(loss)
    }
    #expect(abs(value(EnhancementLoss(siSDR: 0.05)) - single.reduce(0, +)) < 1e-5)
  }

  @Test func gradients() {
    let (estimate, clean) = pair()
    let transform = Self.transform
    let all = EnhancementLoss(siSDR: 0.05)
    let error = gradientError([estimate.magnitude, estimate.spectrum, estimate.signal]) { x in
      all(
        SpeechEstimate(magnitude: x[0], spectrum: x[1], signal: x[2]), clean: clean, transform: transform,
        compression: 0.3)
    }
    #expect(error < 2e-2)
  }

  @Test func silenceHasFiniteLosses() {
    let zero = Tensor.zeros([1, 40])
    let spectrum = Tensor.zeros([1, 11, 9, 2]).requiringGradient()
    let estimate = SpeechEstimate(
      magnitude: Tensor.zeros([1, 11, 9]), spectrum: spectrum, signal: zero.requiringGradient())
    let loss = EnhancementLoss(siSDR: 0.1)(
      estimate, clean: zero, transform: Self.transform, compression: 0.3)
    #expect(loss.item.isFinite)
    #expect(loss.gradients(for: [spectrum, estimate.signal]).allSatisfy { $0.floats.allSatisfy(\.isFinite) })
  }

  @Test func senselessWeightsAreRefused() {
    #expect(EnhancementLoss().problem == nil)
    #expect(Self.none.problem != nil)
    #expect(EnhancementLoss(magnitude: -1).problem != nil)
    #expect(EnhancementLoss(time: .infinity).problem != nil)
  }
}
