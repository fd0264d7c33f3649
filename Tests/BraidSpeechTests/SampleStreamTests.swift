import BraidSpeech
import Foundation
import Testing

@Suite struct SampleStreamTests {
  @Test func formatsAreReadFromText() {
    #expect(
      PCMFormat("s24le:48000:2") == PCMFormat(encoding: .s24le, sampleRate: 48000, channels: 2))
    #expect(PCMFormat("f32le:16000:1")?.description == "f32le:16000:1")
    for text in [
      "", "s16le", "s16le:16000", "s16be:16000:1", "s16le:0:1", "s16le:16000:0", "s16le:16000:65",
      "s16le:-1:1",
      "s16le:16000:1:1", "s16le:9999999999999999999:1", "s16le:16 000:1", ":::",
    ] {
      #expect(PCMFormat(text) == nil, "\(text)")
    }
  }

  @Test(arguments: PCMFormat.Encoding.allCases) func samplesSurviveARoundTrip(_ encoding: PCMFormat.Encoding)
  {
    let format = PCMFormat(encoding: encoding, sampleRate: 16000, channels: 1)
    let step: Float = encoding == .s16le ? 0x1p-15 : 0x1p-23
    let samples: [Float] = [0, step, -step, 0.5, -0.5, -1, 1 - step, 0.25 + step]
    let bytes = format.bytes(samples)
    #expect(bytes.count == samples.count * encoding.byteCount)
    #expect(bytes.withUnsafeBytes { format.samples($0) } == samples)
    // Beyond full scale.
    let loud = format.bytes([2, -2]).withUnsafeBytes { format.samples($0) }
    #expect(encoding == .f32le ? loud == [2, -2] : loud[0] > 0.999 && loud[0] <= 1 && loud[1] == -1)
  }

  @Test func pipesAreReadAndWrittenInBlocks() throws {
    let format = PCMFormat(encoding: .f32le, sampleRate: 16000, channels: 2)
    let pipe = Pipe()
    let writer = PCMWriter(descriptor: pipe.fileHandleForWriting.fileDescriptor, format: format)
    try writer.write([0, 1, 2, .nan, 4, 5])
    pipe.fileHandleForWriting.write(Data([1, 2, 3]))
    try pipe.fileHandleForWriting.close()
    let reader = PCMReader(descriptor: pipe.fileHandleForReading.fileDescriptor, format: format)
    #expect(try reader.read(2) == [0, 1, 2, 0])
    #expect(try reader.read(2) == [4, 5])
    #expect(try reader.read(2) == [])
    #expect(reader.replacedSamples == 1 && reader.leftoverBytes == 3)
    let closed = Pipe()
    signal(SIGPIPE, SIG_IGN)
    let lost = PCMWriter(descriptor: closed.fileHandleForWriting.fileDescriptor, format: format)
    try closed.fileHandleForReading.close()
    #expect(throws: AudioError.abandoned(path: "-")) { try lost.write([1, 2]) }
  }

  /// Whoever shares a pipe may have made it one that does not block.
  @Test func pipesThatDoNotBlockAreWaitedFor() async throws {
    let format = PCMFormat(encoding: .s16le, sampleRate: 16000, channels: 1)
    let pipe = Pipe()
    let (input, output) = (pipe.fileHandleForReading, pipe.fileHandleForWriting)
    for file in [input, output] { #expect(fcntl(file.fileDescriptor, F_SETFL, O_NONBLOCK) == 0) }
    // More than a pipe holds.
    let count = 100_000
    let writer = Thread {
      usleep(20_000)
      try? PCMWriter(descriptor: output.fileDescriptor, format: format).write(
        [Float](repeating: 0.5, count: count))
      try? output.close()
    }
    writer.start()
    let reader = PCMReader(descriptor: input.fileDescriptor, format: format)
    #expect(try reader.read(count + 5) == [Float](repeating: 0.5, count: count))
    #expect(try reader.read(1) == [])
  }

  @Test func listsOfMixturesAreChecked() throws {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID().uuidString).csv").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    func entries(_ text: String) throws -> [MixtureList.Entry] {
      try Data(text.utf8).write(to: URL(fileURLWithPath: path))
      return try MixtureList(path).entries
    }
    let found = try entries("snr_db,clean,other,noise\r\n-5,a.wav,x,n.wav\r\n\r\n2.5, b.wav ,y,m.wav")
    #expect(found.map(\.clean) == ["a.wav", "b.wav"] && found.map(\.ratio) == [-5, 2.5])
    #expect(found.map(\.noise) == ["n.wav", "m.wav"])
    for text in [
      "", "clean,noise\na,b\n", "clean,noise,snr_db\n", "clean,noise,snr_db\na,b\n",
      "clean,noise,snr_db\na,b,loud\n", "clean,noise,snr_db\na,b,nan\n", "clean,noise,snr_db\na,,1\n",
      "clean,noise,snr_db\na,b,1e9\n", "\u{0}\u{1}",
    ] {
      #expect(throws: EnhanceError.self, "\(text)") { try entries(text) }
    }
    #expect(throws: AudioError.notFound(path: path + "x")) { try MixtureList(path + "x") }
  }
}
