import BraidCheckpoint
import BraidSpeech
import Foundation
import Testing

@Suite struct SpeechQualityTests {
  /// Scores by pystoi and by the formulas in numpy; pystoi adds random numbers of 1e-16 in ESTOI.
  @Test(arguments: 0..<3) func agreesWithPublishedImplementations(_ index: Int) throws {
    let file = Bundle.module.url(forResource: "Fixtures/quality", withExtension: "safetensors")!
    let fixture = try Checkpoint.open(file.path)
    let clean = try fixture.tensor("clean").floats.map { $0 / 32768 }
    let noisy = try fixture.tensor("noisy.\(index)").floats.map { $0 / 32768 }
    let scores = try fixture.tensor("scores").floats[index * 5..<index * 5 + 5].map(Double.init)
    let measured = [
      SpeechQuality.scaleInvariantRatio(noisy, reference: clean),
      SpeechQuality.segmentalRatio(noisy, reference: clean, sampleRate: 16000),
      Intelligibility.measure(noisy, reference: clean, sampleRate: 16000, extended: false),
      Intelligibility.measure(noisy, reference: clean, sampleRate: 16000, extended: true),
      SpeechQuality.logSpectralDistance(noisy, reference: clean, sampleRate: 16000),
    ]
    for (a, b) in zip(measured, scores) {
      #expect(abs(a - b) < 1e-4 * max(1, abs(b)), "\(measured) \(scores)")
    }
  }

  @Test func resamplerKeepsTonesAndLength() {
    for (from, to) in [(48000, 16000), (16000, 44100), (8000, 16000), (16000, 16000)] {
      let tone = (0..<from).map { Float(sin(2 * Double.pi * 440 * Double($0) / Double(from))) }
      let resampler = Resampler(from: from, to: to)
      var output: [Float] = []
      var start = 0
      for size in [1, 1000, 7, 5000, from] where start < from {
        let end = min(from, start + size)
        output += resampler.process(Array(tone[start..<end]), isLast: end == from)
        start = end
      }
      #expect(output.count == to)
      let expected = (0..<to).map { Float(sin(2 * Double.pi * 440 * Double($0) / Double(to))) }
      let middle = to / 10..<to * 9 / 10
      #expect(middle.allSatisfy { abs(output[$0] - expected[$0]) < 2e-3 })
    }
  }
}
