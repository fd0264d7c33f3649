import BraidSpeech
import BraidTensor
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

  // MARK: Files that are not whole

  /// Writes a second of noise at 48 kHz and gives the file's bytes.
  private func written(_ path: String, code: Int32, channels: Int = 2) throws -> [UInt8] {
    var generator = Philox(seed: 3)
    let samples = (0..<48000 * channels).map { _ in Float(generator.uniform(-0.5...0.5)) }
    let source = AudioFormat(code: code, sampleRate: 48000, channels: channels)
    let writer = try AudioWriter(path, format: source.forOutput(path, encoding: nil, sampleRate: 48000))
    try writer.write(samples)
    try writer.commit()
    return [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
  }

  @Test(arguments: [
    ("a.wav", 0x10002), ("a.wav", 0x10003), ("a.wav", 0x10006), ("a.wav", 0x10007), ("a.wav", 0x10011),
    ("a.aiff", 0x20002), ("a.w64", 0xB0002), ("a.rf64", 0x220002), ("a.au", 0x30002), ("a.flac", 0x170002),
    ("a.mp3", 0x230082), ("a.ogg", 0x200060),
  ])
  func whatIsMissingIsKnown(_ name: String, _ code: Int) throws {
    try inFolder { folder in
      let path = folder + "/" + name
      let bytes = try written(path, code: Int32(code))
      let whole = try AudioReader(path)
      while try !whole.read(10_000).isEmpty {}
      #expect(whole.shortfall == nil, "\(name)")
      try Data(bytes[..<(bytes.count / 2 + 1)]).write(to: URL(fileURLWithPath: path))
      let reader = try AudioReader(path)
      var found = 0
      while true {
        let samples = try reader.read(10_000)
        if samples.isEmpty { break }
        found += samples.count / 2
      }
      #expect(found > 10_000 && found < 33_000, "\(name): \(found)")
      switch try #require(reader.shortfall) {
      case .samples(let missing):
        // Packed samples come in blocks.
        let slack = [0x10011: 100, 0x230082: 3000][code] ?? 0
        #expect(abs(found + missing - 48_000) <= slack, "\(name): \(missing)")
      case .unknown: #expect(name == "a.ogg")
      }
    }
  }

  @Test func headersThatDoNotKnowAreNotBelieved() throws {
    try inFolder { folder in
      let path = folder + "/a.wav"
      let bytes = try written(path, code: 0x10002)
      func reader(size: UInt32) throws -> AudioReader {
        var changed = bytes
        for i in 0..<4 { changed[40 + i] = UInt8(truncatingIfNeeded: size >> UInt32(8 * i)) }
        try Data(changed).write(to: URL(fileURLWithPath: path))
        return try AudioReader(path)
      }
      // What programs write that do not know the length.
      for size: UInt32 in [0xFFFF_FFFF, 0xFFFF_FFDB, 0x7FFF_FFFF, 0x7FFF_F000, 0x8000_0000] {
        #expect(try reader(size: size).shortfall == nil && reader(size: size).declaredLength == 48_000)
      }
      #expect(try reader(size: 0x7000_0000).shortfall == .samples(0x1C00_0000 - 48_000))
      // What is left of one sample is not missed.
      #expect(try reader(size: 4 * 48_000 + 3).shortfall == nil)
      // Begun and never finished.
      #expect(throws: AudioError.self) { try reader(size: 0) }
      // A header alone.
      try Data(bytes[..<44]).write(to: URL(fileURLWithPath: path))
      let empty = try AudioReader(path)
      do {
        _ = try empty.read(100)
        Issue.record("a header without samples was read")
      } catch let error as AudioError {
        #expect(error.description.contains("1.00 s of the 1.00 s that its header promises are missing"))
      }
    }
  }

  /// Not so: Ogg streams, whose serial number libsndfile draws anew, and floats in RF64, whose time of writing it
  /// keeps all the same.
  @Test(arguments: [
    ("a.wav", 0x10002), ("a.wav", 0x10006), ("a.aiff", 0x20002), ("a.aiff", 0x20006), ("a.flac", 0x170003),
    ("a.w64", 0xB0006), ("a.rf64", 0x220002), ("a.au", 0x30006), ("a.caf", 0x180006), ("a.mp3", 0x230082),
  ])
  func equalSamplesGiveEqualFiles(_ name: String, _ code: Int) throws {
    try inFolder { folder in
      let first = try written(folder + "/" + name, code: Int32(code))
      #expect(try written(folder + "/" + name, code: Int32(code)) == first)
      // The chunk with the highest sample holds the time of writing too.
      let text = String(decoding: first.prefix(4096), as: UTF8.self)
      #expect(!text.contains("PEAK") && !text.contains("peak"))
    }
  }

  @Test func ratesOfOutputsAreChecked() throws {
    let format = AudioFormat(code: 0x10002, sampleRate: 44100, channels: 1)
    #expect(throws: AudioError.self) { try format.forOutput("a.opus", encoding: nil, sampleRate: 44100) }
    #expect(try format.forOutput("a.opus", encoding: nil, sampleRate: 16000).code == 0x200064)
    #expect(throws: AudioError.self) { try format.forOutput("a.mp3", encoding: nil, sampleRate: 96000) }
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
