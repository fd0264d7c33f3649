import BraidTensor
import BraidTestSupport
import Foundation
import Testing

@testable import BraidSpeech

@Suite struct ShortTimeFourierTests {
  @Test(arguments: [(400, 100, 1234), (400, 100, 1201), (400, 100, 1200), (16, 4, 9), (32, 8, 100)])
  func agreesWithDefinition(_ size: Int, _ hop: Int, _ length: Int) {
    let transform = ShortTimeFourier(size: size, hop: hop)
    var generator = Philox(seed: 3)
    let x = Tensor.normal([2, length], using: &generator)
    let spectra = transform.spectra(x)
    #expect(spectra.shape == [2, length / hop + 1, size / 2 + 1, 2])
    let samples = x.floats.map(Double.init)
    var expected: [Double] = []
    for row in 0..<2 {
      for t in 0...length / hop {
        for bin in 0...size / 2 {
          var (re, im) = (0.0, 0.0)
          for i in 0..<size {
            var n = t * hop + i - size / 2
            if n < 0 { n = -n }
            if n >= length { n = 2 * (length - 1) - n }
            let w = 0.5 - 0.5 * cos(2 * .pi * Double(i) / Double(size))
            let angle = 2 * .pi * Double(bin * i % size) / Double(size)
            re += w * samples[row * length + n] * cos(angle)
            im -= w * samples[row * length + n] * sin(angle)
          }
          expected += [re, im]
        }
      }
    }
    #expect(relativeError(spectra.floats, expected) < 1e-6)
    let (magnitude, phase) = transform.polarSpectra(x, gains: [1, 1], compression: 1)
    let polar = Tensor.stacked([magnitude * phase.cosine(), magnitude * phase.sine()], axis: -1)
    #expect(relativeError(polar.floats, expected) < 1e-6)
    #expect(relativeError(transform.signals(spectra, length: length), x) < 1e-6)
    #expect(
      spectra.sliced(axis: 1, 0..<1).selected(axis: -1, 1).floats.allSatisfy { $0 == 0 && $0.sign == .plus })
  }

  @Test func gradients() {
    let transform = ShortTimeFourier(size: 16, hop: 4)
    var generator = Philox(seed: 4)
    let x = Tensor.normal([2, 37], using: &generator)
    #expect(gradientError([x]) { transform.spectra($0[0]) } < 1e-3)
    let spectra = Tensor.normal([2, 10, 9, 2], using: &generator)
    #expect(gradientError([spectra]) { transform.signals($0[0], length: 37) } < 1e-3)
    let (y, z) = (Tensor.normal([40], using: &generator), Tensor.normal([40], using: &generator))
    #expect(gradientError([y, z], step: 1e-3) { arctangent($0[0], $0[1]) } < 1e-2)
  }
}

@Suite struct PreciseFourierTests {
  @Test(arguments: [1, 2, 3, 4, 5, 6, 7, 12, 60, 96, 154, 400, 480, 512, 600]) func agreesWithSum(
    _ length: Int
  ) {
    let x: [Double] = (0..<length).map { (i: Int) -> Double in sin(Double(i * i) * 0.37) + Double(i % 3) }
    var (real, imaginary) = ([Double](repeating: 0, count: length), [Double](repeating: 0, count: length))
    var scratch = [Double](repeating: 0, count: 2 * length)
    PreciseFourier(length: length).transform(x, real: &real, imaginary: &imaginary, scratch: &scratch)
    for k in 0..<length {
      var re = 0.0
      var im = 0.0
      for t in 0..<length {
        let angle: Double = 2 * Double.pi * Double(k * t % length) / Double(length)
        re += x[t] * cos(angle)
        im -= x[t] * sin(angle)
      }
      let error: Double = abs(re - real[k]) + abs(im - imaginary[k])
      #expect(error < 1e-11 * Double(length), "bin \(k)")
    }
  }
}
