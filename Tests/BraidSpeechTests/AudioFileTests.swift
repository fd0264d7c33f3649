import BraidSpeech
import Foundation
import Testing

@Suite struct AudioFileTests {
  private func inFolder(_ body: (String) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try body(folder.path)
  }

  @Test(arguments: ["wav", "flac", "aiff", "ogg", "opus", "mp3"]) func writesAndReads(_ suffix: String) throws
  {
    try inFolder { folder in
      let path = "\(folder)/tone.\(suffix)"
      let samples = (0..<48000).map { Float(0.5 * sin(Double($0) * 0.05)) }
      let source = AudioFormat(code: 0x10002, sampleRate: 48000, channels: 2)
      let format = try source.forOutput(path, encoding: nil, sampleRate: 48000)
      let writer = try AudioWriter(path, format: format)
      try writer.write(Array(samples[..<30000]))
      #expect(!FileManager.default.fileExists(atPath: path))
      try writer.write(Array(samples[30000...]))
      try writer.commit()
      let (found, read) = try AudioReader.readAll(path)
      #expect(read.sampleRate == 48000 && read.channels == 2)
      #expect(suffix == "mp3" || found.count == samples.count)
      if ["wav", "flac", "aiff"].contains(suffix) {
        #expect(zip(found, samples).allSatisfy { abs($0 - $1) < 1.0 / 32000 })
      }
    }
  }

  @Test(arguments: ["wav", "flac", "aiff"]) func samplesAreRoundedToIntegers(_ suffix: String) throws {
    try inFolder { folder in
      let path = "\(folder)/a.\(suffix)"
      let format = try AudioFormat(code: 0x10002, sampleRate: 16000, channels: 1)
        .forOutput(path, encoding: nil, sampleRate: 16000)
      let writer = try AudioWriter(path, format: format)
      try writer.write([0.4, -0.4, 0.6, -0.6, 20000, -20000.3, 40000, -40000].map { $0 / 32768 })
      try writer.commit()
      let found = try AudioReader.readAll(path).samples.map { $0 * 32768 }
      #expect(found == [0, 0, 1, -1, 20000, -20000, 32767, -32768])
    }
  }

  /// Whatever an input is encoded as, files of every container can be written.
  @Test(arguments: [0x10002, 0x10003, 0x10006, 0x10007, 0x170002, 0x200060, 0x200064, 0x230082])
  func everyEncodingGoesIntoEveryContainer(code: Int) throws {
    try inFolder { folder in
      let source = AudioFormat(code: Int32(code), sampleRate: 48000, channels: 1)
      for suffix in ["wav", "flac", "aiff", "ogg", "opus", "mp3", "w64", "rf64", "au", "caf"] {
        let path = "\(folder)/a.\(suffix)"
        let format = try source.forOutput(path, encoding: nil, sampleRate: 48000)
        let writer = try AudioWriter(path, format: format)
        try writer.write([Float](repeating: 0.25, count: 9600))
        try writer.commit()
        #expect(try AudioReader(path).format.channels == 1, "\(code) \(suffix)")
      }
    }
  }

  @Test func refusesWhatIsNoRecording() throws {
    try inFolder { folder in
      let path = folder + "/file"
      #expect(throws: AudioError.notFound(path: path)) { try AudioReader(path) }
      try Data().write(to: URL(fileURLWithPath: path))
      #expect(throws: AudioError.empty(path: path)) { try AudioReader(path) }
      try Data("not a recording, only text that goes on for a while".utf8).write(
        to: URL(fileURLWithPath: path))
      #expect(throws: AudioError.self) { try AudioReader(path) }
      #expect(throws: AudioError.self) { try AudioReader(folder) }
      let format = AudioFormat(code: 0x10002, sampleRate: 16000, channels: 1)
      #expect(throws: AudioError.self) { try format.forOutput("x.jpg", encoding: nil, sampleRate: 16000) }
      #expect(throws: AudioError.self) { try format.forOutput("x.wav", encoding: .flac, sampleRate: 16000) }
      #expect(throws: AudioError.self) { try AudioWriter("\(folder)/none/x.wav", format: format) }
    }
  }

  @Test func damagedFilesEndInAnError() throws {
    try inFolder { folder in
      let path = folder + "/tone.wav"
      let format = AudioFormat(code: 0x10002, sampleRate: 16000, channels: 1)
      let writer = try AudioWriter(path, format: format)
      try writer.write([Float](repeating: 0.25, count: 5000))
      try writer.commit()
      let whole = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
      var state: UInt64 = 1
      func random(_ n: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int(state >> 33) % n
      }
      for _ in 0..<300 {
        var bytes = whole
        for _ in 0...random(6) { bytes[random(min(60, bytes.count))] = UInt8(random(256)) }
        if random(3) == 0 { bytes.removeLast(random(bytes.count)) }
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        _ = try? AudioReader.readAll(path, limit: 1 << 20)
      }
    }
  }
}
