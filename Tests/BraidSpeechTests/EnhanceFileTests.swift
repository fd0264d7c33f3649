import BraidTensor
import Foundation
import Synchronization
import Testing

@testable import BraidSpeech

@Suite struct EnhanceFileTests {
  private func inFolder(_ body: (String) async throws -> Void) async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try await body(folder.path)
  }

  private func write(
    _ samples: [Float], to path: String, code: Int32 = 0x10006, rate: Int = 16000, channels: Int = 1
  )
    throws
  {
    let writer = try AudioWriter(path, format: AudioFormat(code: code, sampleRate: rate, channels: channels))
    try writer.write(samples)
    try writer.commit()
  }

  private func files(_ folder: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
  }

  @Test func filesKeepFormatRateAndLength() async throws {
    try await inFolder { folder in
      let samples = EnhancePipelineTests.tones(2 * 50_001, rate: 44100)
      // FLAC, 16 bits, stereo at 44.1 kHz.
      try write(samples, to: folder + "/a.flac", code: 0x170002, rate: 44100, channels: 2)
      let result = try await EnhancePipeline(FunctionModel()).run(
        input: folder + "/a.flac", output: folder + "/b.flac",
        options: EnhanceOptions(segments: .seconds(0.5)))
      #expect(result.inputLength == 50_001 && result.outputLength == 50_001 && result.segments > 2)
      #expect(result.output == result.input)
      let (output, format) = try AudioReader.readAll(folder + "/b.flac")
      #expect(output.count == samples.count && format == result.output)
      #expect(try files(folder) == ["a.flac", "b.flac"])
      let wav = try await EnhancePipeline(FunctionModel()).run(
        input: folder + "/a.flac", output: folder + "/c.wav", encoding: .float32,
        options: EnhanceOptions(outputRate: .model))
      #expect(wav.output == AudioFormat(code: 0x10006, sampleRate: 16000, channels: 2))
    }
  }

  @Test func samplesThatAreNoNumbersAreTold() async throws {
    try await inFolder { folder in
      try write(
        [0.5, .nan, 0.5, .infinity, 3, -2] + [Float](repeating: 0, count: 999), to: folder + "/a.wav")
      let notes = Mutex<[String]>([])
      let result = try await EnhancePipeline(FunctionModel()).run(
        input: folder + "/a.wav", output: folder + "/b.wav", encoding: .pcm16
      ) { event in
        if case .note(let text) = event { notes.withLock { $0.append(text) } }
      }
      #expect(result.replacedSamples == 2 && result.samplesBeyondScale == 2)
      #expect(
        notes.withLock { $0 } == [
          "2 samples were not numbers and were read as 0", "2 samples beyond full scale were clipped",
        ])
      let samples = try AudioReader.readAll(folder + "/b.wav").samples
      #expect(samples[1] == 0 && samples[4] > 0.999 && samples[5] == -1)
    }
  }

  @Test func whatCannotBeEnhancedLeavesNoFile() async throws {
    try await inFolder { folder in
      let (input, output) = (folder + "/a.wav", folder + "/b.wav")
      try write([], to: input)
      let pipeline = EnhancePipeline(FunctionModel())
      await #expect(throws: AudioError.empty(path: input)) {
        try await pipeline.run(input: input, output: output)
      }
      try write([Float](repeating: 0.1, count: 500_000), to: input)
      let broken = EnhancePipeline(FunctionModel { $0.map { _ in .nan } })
      await #expect(throws: EnhanceError.self) { try await broken.run(input: input, output: output) }
      // Cancelled in its third segment.
      let task = Mutex<Task<Void, any Error>?>(nil)
      let model = FunctionModel { samples in
        task.withLock { $0?.cancel() }
        return samples
      }
      let started = Task {
        _ = try await EnhancePipeline(model).run(
          input: input, output: output, options: EnhanceOptions(segments: .seconds(1)))
      }
      task.withLock { $0 = started }
      await #expect(throws: CancellationError.self) { try await started.value }
      #expect(model.seen.lengths.count < 20)
      #expect(try files(folder) == ["a.wav"])
    }
  }

  @Test func extensionsMustNameAFormat() async throws {
    try await inFolder { folder in
      try write([Float](repeating: 0.1, count: 500), to: folder + "/a.wav")
      let pipeline = EnhancePipeline(FunctionModel())
      for name in ["b", "b.txt", "none/b.wav"] {
        await #expect(throws: AudioError.self) {
          try await pipeline.run(input: folder + "/a.wav", output: folder + "/" + name)
        }
      }
      #expect(
        AudioFormat.suffix(ofPath: "x/y.b/a.FLAC") == "flac" && AudioFormat.suffix(ofPath: "x.wav/a") == nil)
    }
  }

  // MARK: Long recordings

  /// Hours of a signal that is computed as it is read.
  private final class Generator: SampleSource {
    let path = "generated"
    let format: AudioFormat
    let declaredLength: Int?
    let replacedSamples = 0
    private var left: Int

    init(seconds: Int, rate: Int) {
      format = AudioFormat(code: 0, sampleRate: rate, channels: 1)
      left = seconds * rate
      declaredLength = left
    }

    func read(_ frames: Int) -> [Float] {
      let count = min(frames, left)
      left -= count
      return (0..<count).map { Float(($0 * 7919) % 1000) / 1000 - 0.5 }
    }
  }

  /// Counts what comes.
  private final class Counter: SampleSink {
    let clips = false
    private(set) var count = 0
    private(set) var largest = 0

    func write(_ samples: [Float]) {
      count += samples.count
      largest = max(largest, samples.count)
    }
    func commit() {}
  }

  /// Bytes of memory that the process has now.
  private func residentBytes() throws -> Int {
    let fields = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(separator: " ")
    return Int(fields[1])! * 4096
  }

  /// Twenty minutes; three hours, and the memory they take, where BRAID_LONG_TESTS is set.
  @Test func longRecordingsTakeConstantMemory() async throws {
    let isLong = ProcessInfo.processInfo.environment["BRAID_LONG_TESTS"] != nil
    for rate in isLong ? [16000, 48000] : [16000] {
      let source = Generator(seconds: isLong ? 3 * 3600 : 1200, rate: rate)
      let total = source.declaredLength!
      let sink = Counter()
      let model = FunctionModel()
      let before = try residentBytes()
      // Sixty seconds a segment.
      let result = try await EnhancePipeline(model).run(
        source, options: EnhanceOptions(memoryBudget: 60 << 20, attenuationLimit: 20)
      ) { _ in (sink, source.format) }
      #expect(sink.count == total && result.outputLength == total)
      #expect(model.seen.lengths.allSatisfy { $0 <= 60 * 16000 } && sink.largest <= 121 * rate)
      if isLong {
        let growth = try residentBytes() - before
        print("\(rate) Hz: \(result.segments) segments, \(growth >> 20) MiB more memory, \(result.seconds) s")
        #expect(growth < 300 << 20)
      }
    }
  }
}
