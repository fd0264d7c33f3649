import BraidNN
import BraidTensor
import Foundation
import Synchronization
import Testing

@testable import BraidSpeech

/// A model that computes a function of samples and notes the lengths that it saw.
struct FunctionModel: EnhancementModel {
  static let architecture = "function"
  let parameters = ParameterStore()
  let sampleRate = 16000
  let shortestSignal = 201
  let bytesPerSecond = 1 << 20
  let transform = ShortTimeFourier()
  let compression: Float = 1
  let seen = Seen()
  let function: @Sendable ([Float]) -> [Float]

  final class Seen: Sendable {
    private let list = Mutex<[Int]>([])
    var lengths: [Int] { list.withLock { $0 } }
    func add(_ length: Int) { list.withLock { $0.append(length) } }
  }

  init(_ function: @escaping @Sendable ([Float]) -> [Float] = { $0 }) { self.function = function }

  func enhanced(_ signals: Tensor) -> Tensor {
    seen.add(signals.shape[1])
    return Tensor(function(signals.floats), shape: signals.shape)
  }

  func estimate(_ signals: Tensor) -> SpeechEstimate { preconditionFailure("not for training") }
}

@Suite struct EnhancePipelineTests {
  /// A voice-like sum of tones below `top` Hz.
  static func tones(_ count: Int, rate: Int, top: Double = 1500) -> [Float] {
    (0..<count).map { n in
      let t = Double(n) / Double(rate)
      let tones = (1...5).map { sin(2 * .pi * top * Double($0) / 5 * t + Double($0)) }
      return Float(0.1 * tones.reduce(0, +))
    }
  }

  @Test(
    arguments: [8000, 11025, 16000, 22050, 44100, 48000, 96000], [1, 2, 5, 200, 201, 5000, 44101])
  func lengthsAreKeptToTheSample(rate: Int, length: Int) async throws {
    let channels = [Self.tones(length, rate: rate), Self.tones(length, rate: rate, top: 900)]
    let output = try await EnhancePipeline(FunctionModel()).run(channels, sampleRate: rate)
    #expect(output.map(\.count) == [length, length])
    if rate == 16000 { #expect(output == channels) }
    if length > 4000 {
      for (before, after) in zip(channels, output) {
        // Away from the ends, where the interpolation sees silence beyond.
        let range = 200..<length - 200
        #expect(
          SpeechQuality.scaleInvariantRatio(Array(after[range]), reference: Array(before[range])) > 60)
      }
    }
    var options = EnhanceOptions()
    options.outputRate = .model
    let atModelRate = try await EnhancePipeline(FunctionModel()).run(
      channels, sampleRate: rate, options: options)
    #expect(atModelRate[0].count == Int((Double(length) * 16000 / Double(rate)).rounded()))
  }

  @Test(arguments: [0, 0.05, 1], [1, 999, 16000, 16001, 27999, 28000, 28001, 100_003])
  func segmentsOfAnUnchangedSignalGiveTheSignal(overlap: Double, length: Int) async throws {
    let signal = (0..<length).map { Float(sin(Double($0) * 0.37)) }
    let model = FunctionModel()
    let options = EnhanceOptions(segments: .seconds(1), overlap: overlap)
    let output = try await EnhancePipeline(model).run([signal], sampleRate: 16000, options: options)
    #expect(output == [signal])
    // Two segments of one length at the end: no short rest.
    let lengths = model.seen.lengths
    #expect(lengths.allSatisfy { $0 <= 16000 })
    if length > 16000 {
      #expect(lengths.count >= 2 && lengths.allSatisfy { $0 >= 8000 })
      #expect(lengths.suffix(2).first == lengths.last || lengths.dropLast().allSatisfy { $0 == 16000 })
    } else {
      #expect(lengths == [max(201, length)])
    }
  }

  /// Segments that come back at different levels meet without a step.
  @Test func segmentsAreCrossFaded() async throws {
    let count = Mutex(0)
    let model = FunctionModel { samples in
      let level = count.withLock { value -> Float in
        value += 1
        return value % 2 == 0 ? 0.5 : -0.5
      }
      return [Float](repeating: level, count: samples.count)
    }
    let options = EnhanceOptions(segments: .seconds(1), overlap: 0.25)
    let output = try await EnhancePipeline(model).run(
      [[Float](repeating: 1, count: 60_000)], sampleRate: 16000, options: options)[0]
    #expect(output.count == 60_000 && Set(output).contains(0.5) && Set(output).contains(-0.5))
    #expect(zip(output, output.dropFirst()).allSatisfy { abs($0 - $1) < 0.001 })
  }

  @Test func refusedMemoryHalvesSegments() async throws {
    let model = FunctionModel()
    var pipeline = EnhancePipeline(model)
    // Five seconds at most.
    pipeline.preflight = { if $0 > 5 << 20 { throw MemoryError(requestedBytes: $0) } }
    let notes = Mutex<[String]>([])
    let signal = Self.tones(16000 * 37 + 5, rate: 16000)
    let output = try await pipeline.run([signal], sampleRate: 16000) { event in
      if case .note(let text) = event { notes.withLock { $0.append(text) } }
    }
    #expect(zip(output[0], signal).allSatisfy { abs($0 - $1) < 1e-6 } && output[0].count == signal.count)
    #expect(model.seen.lengths.allSatisfy { $0 <= 4 * 16000 } && model.seen.lengths.count > 9)
    #expect(notes.withLock { $0 }.last?.contains("going on with") == true)
    var hopeless = pipeline
    hopeless.preflight = { throw MemoryError(requestedBytes: $0) }
    await #expect(throws: MemoryError.self) { try await hopeless.run([signal], sampleRate: 16000) }
  }

  @Test func attenuationIsLimited() async throws {
    let silencer = FunctionModel { [Float](repeating: 0, count: $0.count) }
    for rate in [16000, 44100] {
      let signal = Self.tones(20_011, rate: rate)
      let output = try await EnhancePipeline(silencer).run(
        [signal], sampleRate: rate, options: EnhanceOptions(attenuationLimit: 12))[0]
      let share = Float(pow(10, -0.6))
      #expect(zip(output, signal).allSatisfy { abs($0 - share * $1) < 1e-6 })
      let unlimited = try await EnhancePipeline(silencer).run(
        [signal], sampleRate: rate, options: EnhanceOptions(attenuationLimit: 0))[0]
      #expect(zip(unlimited, signal).allSatisfy { abs($0 - $1) < 1e-6 })
    }
  }

  @Test func aSharedMaskKeepsChannelsInPlace() async throws {
    // The loud channel is halved, the other one silenced.
    let model = FunctionModel { samples in
      let energy = samples.reduce(0) { $0 + $1 * $1 }
      return samples.map { energy > 50 ? $0 / 2 : 0 }
    }
    let left = Self.tones(16000, rate: 16000)
    let right = left.map { -0.3 * $0 }
    let options = EnhanceOptions(sharesMask: true)
    let output = try await EnhancePipeline(model).run([left, right], sampleRate: 16000, options: options)
    // sqrt(0.25 / 1.09) of both.
    let gain = Float((0.25 / 1.09).squareRoot())
    for (before, after) in zip([left, right], output) {
      #expect(zip(before, after).allSatisfy { abs(gain * $0 - $1) < 1e-4 })
    }
  }

  @Test func whatIsNotANumberCountsAsSilence() async throws {
    let signal: [Float] = (0..<5000).map {
      $0 % 1000 == 7 ? [.nan, .infinity, -.infinity][$0 / 1000 % 3] : 0.25
    }
    let output = try await EnhancePipeline(FunctionModel()).run([signal], sampleRate: 16000)[0]
    #expect(output.allSatisfy(\.isFinite) && output[7] == 0 && output[8] == 0.25)
    let broken = FunctionModel { $0.map { _ in .nan } }
    await #expect(throws: EnhanceError.notFinite(architecture: "function")) {
      try await EnhancePipeline(broken).run([signal], sampleRate: 16000)
    }
    let slow = [Float](repeating: 0.1, count: 100)
    await #expect(throws: AudioError.rates(path: "samples", from: 10, to: 16000)) {
      try await EnhancePipeline(FunctionModel()).run([slow], sampleRate: 10)
    }
  }

  /// The published network on what recordings can hold: finite, as long, and silent where the input is.
  @Test(arguments: [(0.0, 0.0), (0, 0.5), (1e-20, 0), (1e20, 0), (40, 0)], [1, 150, 3000])
  func extremeSignalsStayFinite(_ shape: (gain: Double, offset: Double), length: Int) async throws {
    let store = ParameterStore()
    let model = try MambAttention(MambAttention.Configuration(channels: 8, blocks: 1, heads: 2), store: store)
    store.initialize(seed: 1)
    store.freeze()
    let signal = (0..<length).map { n -> Float in
      let wave = shape.gain * sin(Double(n) * 0.1) + shape.offset
      return Float(shape.gain == 40 ? min(max(wave, -1), 1) : wave)
    }
    let output = try await EnhancePipeline(model).run([signal], sampleRate: 16000)[0]
    #expect(output.count == length && output.allSatisfy(\.isFinite))
    if shape == (0, 0) { #expect(output == signal) }
  }
}
