import BraidMixers
import BraidTensor
import BraidTestSupport
import Foundation
import Testing

@testable import BraidSpeech

@Suite struct EnhancementStreamTests {
  static let configurations = [
    StreamingMambAttentionTests.small,
    StreamingMambAttention.Configuration(
      frameSize: 160, hop: 40, encoderChannels: [5, 7], channels: 12, blocks: 1, heads: 3, stateSize: 5,
      kernelSize: 3, expansion: 3, feedForward: 1, window: 4, levelMemory: 7),
    StreamingMambAttention.Configuration(),
  ]

  static func model(_ index: Int) throws -> StreamingMambAttention {
    let model = try StreamingMambAttentionTests.model(configurations[index], seed: 5)
    model.parameters.freeze()
    return model
  }

  static func blocks(_ samples: [Float], of size: Int, _ stream: EnhancementStream) -> [Float] {
    var output: [Float] = []
    for start in stride(from: 0, to: samples.count, by: size) {
      output += stream.process(Array(samples[start..<min(samples.count, start + size)]))
    }
    return output + stream.finish()
  }

  @Test(arguments: configurations.indices) func agreesWithParallelForm(_ index: Int) throws {
    let model = try Self.model(index)
    let x = StreamingMambAttentionTests.noise([1, index == 2 ? 9600 + 77 : 3333])
    let stream = EnhancementStream(model: model)
    let output = stream.process(x.floats) + stream.finish()
    #expect(output.count == x.shape[1])
    let expected = withoutGradient { model.enhanced(x) }
    #expect(relativeError(Tensor(output, shape: x.shape), expected) < 1e-5)
  }

  @Test(arguments: [1, 7, 32, 160, 1000]) func blocksOfAnySizeGiveTheSameBits(_ size: Int) throws {
    let samples = StreamingMambAttentionTests.noise([2345]).floats
    let stream = EnhancementStream(model: try Self.model(0))
    let whole = stream.process(samples) + stream.finish()
    #expect(whole.count == samples.count)
    #expect(Self.blocks(samples, of: size, stream) == whole)
  }

  @Test(arguments: [0, 1, 31, 32, 95, 96, 97]) func shortSignalsKeepTheirLength(_ count: Int) throws {
    let samples = Array(StreamingMambAttentionTests.noise([100]).floats.prefix(count))
    let stream = EnhancementStream(model: try Self.model(0))
    #expect((stream.process(samples) + stream.finish()).count == count)
  }

  @Test(arguments: [1, 500, 1234]) func aSavedStateGoesOnWithTheSameBits(_ cut: Int) throws {
    let samples = StreamingMambAttentionTests.noise([3000]).floats
    let model = try Self.model(1)
    let first = EnhancementStream(model: model)
    let whole = first.process(samples) + first.finish()
    let begun = first.process(Array(samples[..<cut]))
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("stream-\(UUID()).safetensors")
      .path
    defer { try? FileManager.default.removeItem(atPath: path) }
    try first.save(to: path)
    let second = EnhancementStream(model: model)
    _ = second.process(Array(samples[..<777]))
    try second.restore(from: path)
    #expect(begun + second.process(Array(samples[cut...])) + second.finish() == whole)
    // Numbers in memory, too.
    let processor = EnhancementStream(model: model).processor
    var numbers = [Float](repeating: 0, count: first.processor.stateCount)
    first.processor.saveState(to: &numbers)
    #expect(processor.restoreState(from: numbers))
    let hop = Array(samples[..<processor.hop])
    var outputs = [hop, hop]
    first.processor.process(hop, to: &outputs[0])
    processor.process(hop, to: &outputs[1])
    #expect(outputs[0] == outputs[1])
  }

  @Test func statesOfOthersAreRefused() throws {
    let stream = EnhancementStream(model: try Self.model(0))
    let other = EnhancementStream(model: try Self.model(1))
    let samples = StreamingMambAttentionTests.noise([700]).floats
    let expected = stream.process(samples) + stream.finish()
    #expect(throws: MixerError.self) { try stream.restore(other.state) }
    var state = stream.state
    state["statistics"] = state["statistics"] * Float.nan
    #expect(throws: MixerError.self) { try stream.restore(state) }
    state = stream.state
    state["clock"] = .full([1, 1], 1e9)
    #expect(throws: MixerError.self) { try stream.restore(state) }
    var numbers = [Float](repeating: .infinity, count: stream.processor.stateCount)
    #expect(!stream.processor.restoreState(from: numbers))
    numbers = numbers.map { _ in 0.5 }
    #expect(!stream.processor.restoreState(from: numbers))
    #expect(stream.process(samples) + stream.finish() == expected)
  }

  @Test func latencyIsAtMost32Milliseconds() throws {
    let model = try Self.model(2)
    let stream = EnhancementStream(model: model)
    #expect(stream.latency == 480)
    // A sample changes nothing that came out `latency` samples before it, and something at once behind that.
    let samples = StreamingMambAttentionTests.noise([4800]).floats
    let plain = stream.process(samples) + stream.finish()
    var changed = samples
    changed[2400] += 0.5
    let output = stream.process(changed) + stream.finish()
    let first = try #require(zip(plain, output).enumerated().first { $0.element.0 != $0.element.1 }).offset
    #expect(2400 - first < stream.latency && 2400 - first >= 0)
    // One by one, a sample comes out when the `latency`-th from it on has gone in.
    var count = 0
    for n in samples.indices {
      count += stream.process([samples[n]]).count
      #expect(count >= n + 1 - (stream.latency - 1) && count <= n + 1)
    }
  }

  @Test func badSamplesDoNotStay() throws {
    let stream = EnhancementStream(model: try Self.model(0))
    var samples = StreamingMambAttentionTests.noise([4000]).floats
    for (n, value) in [Float.nan, .infinity, -.infinity, 1e30].enumerated() { samples[500 + 7 * n] = value }
    let output = stream.process(samples) + stream.finish()
    #expect(output.allSatisfy { $0.isFinite })
    let silence = stream.process([Float](repeating: 0, count: 900)) + stream.finish()
    #expect(silence == [Float](repeating: 0, count: 900))
  }

  @Test func timing() throws {
    guard ProcessInfo.processInfo.environment["TIMING"] != nil else { return }
    let model = try StreamingMambAttentionTests.model(.init(channels: 64, heads: 2))
    let processor = FrameProcessor(model: model)
    let x = StreamingMambAttentionTests.noise([160]).floats
    var y = x
    for _ in 0..<5 {
      let start = ContinuousClock.now
      for _ in 0..<200 { processor.process(x, to: &y) }
      print("frame", (ContinuousClock.now - start) / 200)
    }
  }
}
