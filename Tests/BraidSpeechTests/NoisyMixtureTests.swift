import BraidTensor
import BraidTraining
import Foundation
import Testing

@testable import BraidSpeech

/// Folders with short made-up recordings: speech that comes and goes, and noise.
struct SpeechFolders {
  let root: String
  var speech: String { root + "/speech" }
  var noise: String { root + "/noise" }

  init(speechCount: Int = 3, noiseCount: Int = 2, seconds: Double = 1, sampleRate: Int = 16000) throws {
    root = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString).path
    try FileManager.default.createDirectory(atPath: speech + "/below", withIntermediateDirectories: true)
    try FileManager.default.createDirectory(atPath: noise, withIntermediateDirectories: true)
    let count = Int(seconds * Double(sampleRate))
    for i in 0..<speechCount {
      let pitch = 120.0 + 40 * Double(i)
      try Self.write("\(speech)/\(i == 0 ? "below/" : "")\(i).wav", sampleRate) { n in
        let t = Double(n) / Double(sampleRate)
        let wave = (1...6).reduce(0.0) { $0 + sin(2 * .pi * pitch * Double($1) * t) / Double($1) }
        return Float(0.2 * wave * max(0, sin(2 * .pi * 3 * t)))
      } count: {
        count
      }
    }
    for i in 0..<noiseCount {
      var draw = Philox(seed: UInt64(i + 1))
      try Self.write("\(noise)/\(i).wav", sampleRate) { _ in
        draw.uniform(-0.3...0.3)
      } count: {
        count / 2
      }
    }
  }

  static func write(_ path: String, _ sampleRate: Int, _ sample: (Int) -> Float, count: () -> Int) throws {
    let format = try AudioFormat(code: 0x10002, sampleRate: sampleRate, channels: 1)
      .forOutput(path, encoding: .float32, sampleRate: sampleRate)
    let writer = try AudioWriter(path, format: format)
    try writer.write((0..<count()).map(sample))
    try writer.commit()
  }

  func remove() { try? FileManager.default.removeItem(atPath: root) }
}

@Suite struct NoisyMixtureTests {
  private func energy(_ x: [Float]) -> Double { x.reduce(0.0) { $0 + Double($1) * Double($1) } }

  @Test(arguments: [-5, 0, 3.5, 20] as [Float]) func ratioIsThatOfTheEnergies(_ ratio: Float) {
    var draw = Philox(seed: 3)
    let speech = (0..<5000).map { _ in draw.uniform(-0.4...0.4) }
    let noise = (0..<5000).map { _ in draw.uniform(-0.01...0.02) }
    let example = NoisyMixture.mixed(speech, noise, ratio: ratio)
    let difference = zip(example.noisy, example.clean).map { $0 - $1 }
    #expect(example.clean == speech)
    #expect(abs(10 * log10(energy(speech) / energy(difference)) - Double(ratio)) < 1e-4)
    #expect(NoisyMixture.mixed(speech, [Float](repeating: 0, count: 5000), ratio: ratio).noisy == speech)
  }

  @Test func recordingsAreLooped() {
    #expect(NoisyMixture.looped([1, 2, 3], count: 7) == [1, 2, 3, 1, 2, 3, 1])
    #expect(NoisyMixture.looped([1, 2, 3], count: 4, from: 2) == [3, 1, 2, 3])
  }

  @Test func stretchesLieWithinTheRecording() {
    let clip = (0..<10).map(Float.init)
    #expect(NoisyMixture.stretch(of: clip, count: 4, speed: 1, position: 0) == [0, 1, 2, 3])
    #expect(NoisyMixture.stretch(of: clip, count: 4, speed: 1, position: 0.9999999) == [6, 7, 8, 9])
    #expect(NoisyMixture.stretch(of: [5, 6], count: 4, speed: 1, position: 0) == [5, 6, 0, 0])
    #expect(NoisyMixture.stretch(of: [5, 6], count: 4, speed: 1, position: 0.9999999) == [0, 0, 5, 6])
    // Catmull-Rom is exact for parabolas.
    let parabola = (0..<40).map { Float($0 * $0) * 0.01 }
    let played = NoisyMixture.resampled(parabola, count: 20, speed: 1.5)
    for n in 1..<20 { #expect(abs(played[n] - pow(Float(n) * 1.5, 2) * 0.01) < 1e-4) }
  }

  @Test func examplesNeverClipAndDependOnTheGeneratorAlone() throws {
    let folders = try SpeechFolders(sampleRate: 22050)
    defer { folders.remove() }
    let everything = NoisyMixtureConfiguration(
      seconds: 0.6, snr: [-5, 20], noises: 3, noiseSpeed: [0.7, 1.4], speechSpeed: [0.9, 1.1], babble: 0.3,
      coloured: 0.3, filter: 0.7, room: 0.5, bandLimit: 0.5, level: [-20, 0])
    func mixture() throws -> NoisyMixture {
      try NoisyMixture(
        speech: AudioClips(folders: [folders.speech], sampleRate: 16000),
        noise: AudioClips(folders: [folders.noise], sampleRate: 16000), everything)
    }
    let (first, second) = (try mixture(), try mixture())
    for index in (0..<24).reversed() {
      var draw = Philox(seed: 7).split(UInt64(index))
      let example = try first.example(using: &draw)
      #expect(example.clean.count == 9600 && example.noisy.count == 9600)
      #expect((example.clean + example.noisy).allSatisfy { $0.isFinite && abs($0) <= 1.00001 })
      #expect(energy(example.clean) > 0)
      var again = Philox(seed: 7).split(UInt64(index))
      let other = try second.example(using: &again)
      #expect(example.noisy == other.noisy && example.clean == other.clean && draw == again)
    }
    let batch = try first.batch(3, generator: Philox(seed: 1))
    #expect(batch.clean.shape == [3, 9600])
    for power in batch.noisy.squared().mean(axes: [1]).floats { #expect(abs(power - 1) < 1e-4) }
  }

  @Test func recordingsAreFoundBelowResampledAndHeldOut() throws {
    let folders = try SpeechFolders(speechCount: 7, sampleRate: 8000)
    defer { folders.remove() }
    let clips = try AudioClips(folders: [folders.speech], sampleRate: 16000)
    #expect(clips.count == 7 && clips.paths == clips.paths.sorted())
    #expect(try clips.samples(4).count == 16000)
    let (held, rest) = clips.holdingOut(3)
    #expect(held.paths == [0, 2, 4].map { clips.paths[$0] })
    #expect(Set(held.paths + rest.paths) == Set(clips.paths) && rest.count == 4)
    #expect(clips.holdingOut(100).rest.count == 1)
    #expect(throws: TrainingError.self) {
      try AudioClips(folders: [folders.root + "/none"], sampleRate: 16000)
    }
    try Data("text".utf8).write(to: URL(fileURLWithPath: folders.noise + "/broken.wav"))
    let noise = try AudioClips(folders: [folders.noise], sampleRate: 16000)
    #expect(throws: AudioError.self) { for i in 0..<noise.count { _ = try noise.samples(i) } }
  }

  @Test func senselessConfigurationsAreRefused() {
    let wrong: [NoisyMixtureConfiguration] = [
      .init(seconds: 0), .init(seconds: .nan), .init(snr: [5]), .init(snr: [5, -5]), .init(noises: 0),
      .init(noiseSpeed: [0, 1]), .init(babble: 0.7, coloured: 0.7), .init(room: -1), .init(level: [-10, 3]),
      .init(filter: .nan),
    ]
    for configuration in wrong { #expect(configuration.problem != nil) }
    #expect(NoisyMixtureConfiguration().problem == nil)
  }

  @Test func lowPassFallsAboveItsCutoff() {
    func gain(_ frequency: Double) -> Double {
      let wave = (0..<4000).map { Float(sin(2 * .pi * frequency * Double($0))) }
      let passed = SecondOrderFilter.lowPass(0.2).reduce(wave) { $1($0) }
      return (energy(Array(passed[2000...])) / energy(Array(wave[2000...]))).squareRoot()
    }
    #expect(abs(gain(0.05) - 1) < 0.01)
    #expect(abs(gain(0.2) - 0.5.squareRoot()) < 0.01)
    #expect(gain(0.4) < 0.02)
  }

  @Test func noiseHasItsColour() {
    for slope in [-1, 0, 1, 2] as [Float] {
      var draw = Philox(seed: 5)
      let signal = ColouredNoise.signal(16384, slope: slope, using: &draw)
      let spectrum = Tensor(signal, shape: [1, 16384]).realFourierTransformed().squared().sum(axes: [2])
        .floats
      func power(_ bins: Range<Int>) -> Double { spectrum[bins].reduce(0.0) { $0 + Double($1) } }
      // An octave holds as many times the power of the one below as 2^(1 - slope).
      let ratio = power(2048..<4096) / power(1024..<2048)
      #expect(abs(ratio / pow(2, 1 - Double(slope)) - 1) < 0.2)
      #expect(signal.count == 16384)
      #expect(ColouredNoise.signal(33, slope: slope, using: &draw).count == 33)
    }
  }

  @Test func roomsDecayAndBeginWithTheDirectSound() {
    var draw = Philox(seed: 2)
    let room = RoomResponse(time: 0.4, sampleRate: 16000, using: &draw)
    #expect(room.taps[0] == 1 && room.taps.count == 6400 && room.earlyCount == 800)
    #expect(energy(Array(room.taps[5400...])) < 1e-3 * energy(Array(room.taps[1...1000])))
    var impulse = [Float](repeating: 0, count: 2000)
    impulse[10] = 1
    let heard = room.heard(impulse)
    for n in 0..<1990 { #expect(abs(heard[n + 10] - room.taps[n]) < 1e-5) }
    let early = room.early(impulse)
    #expect(early[910...].allSatisfy { abs($0) < 1e-5 })
  }
}
