import Braid
import Foundation
import Testing

@Suite struct EnhanceCommandTests {
  let braid: BraidExecutable

  init() throws {
    braid = try BraidExecutable()
    try braid.writeSpeechModel("models/enhance-s.safetensors")
  }

  @Test func aRecordingIsEnhanced() throws {
    defer { braid.remove() }
    // 24 bits, stereo.
    try braid.write("a.wav", seconds: 0.5, rate: 44100, channels: 2, code: 0x10003)
    let run = try braid("enhance", "a.wav", "-o", "b.wav")
    #expect(run.status == 0 && run.errors == "", "\(run.errors)")
    #expect(run.output.hasPrefix("a.wav -> b.wav  44100 Hz, 2 channels, 0.50 s in "))
    #expect(run.output.contains("at 16000 Hz (libsamplerate)"))
    let (samples, format) = try AudioReader.readAll(braid.folder + "/b.wav")
    #expect(
      samples.count == 2 * 22050 && format == AudioFormat(code: 0x10003, sampleRate: 44100, channels: 2))
    #expect(braid.files() == ["a.wav", "b.wav", "models/enhance-s.safetensors"])
    for (name, encoding, code) in [
      ("c.wav", "pcm16", 0x10002), ("d.wav", "float32", 0x10006), ("e.flac", "flac", 0x170002),
      ("f.flac", "pcm24", 0x170003), ("g", "flac", 0x170002),
    ] {
      let run = try braid("enhance", "a.wav", "-o", name, "--encoding", encoding, "--rate", "16000", "-q")
      #expect(run.status == 0, "\(run.errors)")
      let format = try AudioReader(braid.folder + "/" + name).format
      #expect(format == AudioFormat(code: Int32(code), sampleRate: 16000, channels: 2), "\(name)")
    }
  }

  /// Every example of the help that needs no published file and no shell runs.
  @Test func examplesOfTheHelpRun() throws {
    defer { braid.remove() }
    try braid.write("noisy.wav", seconds: 0.3)
    try braid.write("recordings/below/a.wav", seconds: 0.3)
    let help = try braid("enhance", "--help").output
    let examples = help.split(separator: "\n").filter {
      $0.hasPrefix("  braid ") && !$0.contains("--weights") && !$0.contains("<")
    }
    #expect(examples.count >= 3)
    for example in examples {
      try? FileManager.default.removeItem(atPath: braid.folder + "/clean.wav")
      let run = try braid.run(example.split(separator: " ").dropFirst().map(String.init))
      #expect(run.status == 0, "\(example): \(run.errors)")
    }
  }

  /// Each mistake gives its exit code, a line on standard error, and no file.
  @Test(arguments: [
    (["enhance"], 64),
    (["enhance", "a.wav"], 64),
    (["enhance", "a.wav", "-o", "b.wav", "--rate", "8000"], 64),
    (["enhance", "a.wav", "-o", "b.wav", "--encoding", "pcm8"], 64),
    (["enhance", "a.wav", "-o", "b.wav", "--attenuation-limit", "-1"], 64),
    (["enhance", "a.wav", "-o", "b.wav", "--block-ms", "10"], 64),
    (["enhance", "a.wav", "-o", "b.wav", "--stream", "--block-ms", "0"], 64),
    (["enhance", "a.wav", "-o", "b.wav", "--stream", "--shared-mask"], 64),
    (["enhance", "a.wav", "-o", "b.wav", "--stream", "-m", "enhance-s"], 64),
    (["enhance", "a.wav", "-o", "b.wav", "--segment", "-1"], 64),
    (["enhance", "a.wav", "-o", "b.wav", "--overwrite", "--skip-existing"], 64),
    (["enhance", "a.wav", "-o", "b.wav", "--input-format", "s16le:16000:1"], 64),
    (["enhance", "-", "-o", "b.wav"], 64),
    (["enhance", "-", "-o", "b.wav", "--input-format", "s16le:16000"], 64),
    (["enhance", "-", "a.wav", "-o", "out", "--input-format", "s16le:16000:1"], 64),
    (["enhance", "-", "-o", "void", "--input-format", "s16le:16000:1"], 64),
    (["enhance", "a.wav", "-o", "-", "--json"], 64),
    (["enhance", "a.wav", "a2.wav", "-o", "-"], 64),
    (["enhance", "void", "-o", "-"], 64),
    (["enhance", "a.wav", "-o", "-", "--encoding", "flac"], 64),
    (["enhance", "a.wav", "-o", "b.xyz"], 64),
    (["enhance", "a.wav", "-o", "b"], 64),
    (["enhance", "a.wav", "a2.wav", "-o", "b.wav"], 64),
    (["enhance", "a.wav", "-o", "a.wav", "--overwrite"], 64),
    (["enhance", "a.wav", "a2.wav", "-o", "out", "--spectrogram", "s.png"], 64),
    (["enhance", "", "-o", "b.wav"], 64),
    (["enhance", "a.wav", "-o", "b.wav", "--spectrogram", "a.wav"], 64),
    (["enhance", "a.wav", "-o", "b.wav", "--spectrogram", "s.jpg"], 64),
    (["enhance", "a.wav", "-o", "b.wav", "--spectrogram", "a.png"], 64),
    (["enhance", "a.wav", "-o", "b.wav", "--spectrogram", "picture.png"], 73),
    (["enhance", "a.wav", "-o", "b.wav", "--spectrogram", "no/s.png"], 73),
    (["enhance", "a.wav", "-o", "b.wav", "--reference", "none.wav"], 66),
    (["enhance", "a.wav", "-o", "b.wav", "--reference", "long.wav"], 65),
    (["enhance", "long.wav", "-o", "b.opus"], 65),
    (["enhance", "header.wav", "-o", "b.wav"], 65),
    (["enhance", "a.wav", "-o", "nowhere.wav"], 73),
    (["enhance", "a.wav", "-o", "b.wav", "-m", "bicubic-x2"], 64),
    (["restore", "a.wav", "-o", "b.png", "-m", "enhance-s"], 64),
    (["enhance", "text.wav", "-o", "b.wav"], 65),
    (["enhance", "empty.wav", "-o", "b.wav"], 65),
    (["enhance", "nothing.wav", "-o", "b.wav"], 65),
    (["enhance", "video.mp4", "-o", "b.wav"], 65),
    (["enhance", "picture.png", "-o", "b.wav"], 65),
    (["enhance", "cut.flac", "-o", "b.wav"], 65),
    (["enhance", "slow.wav", "-o", "b.wav"], 65),
    (["enhance", "a.wav", "-o", "b.wav", "--weights", "text.wav"], 65),
    (
      [
        "enhance", "a.wav", "-o", "b.wav", "-m", "mambattention", "--weights", "models/enhance-s.safetensors",
      ], 65
    ),
    (["enhance", "a.wav", "-o", "b.ogg", "--encoding", "float32"], 65),
    (["enhance", "none.wav", "-o", "b.wav"], 66),
    (["enhance", "none.wav", "-o", "-"], 66),
    (["enhance", "void", "-o", "out"], 66),
    (["enhance", "a.wav", "-o", "b.wav", "-m", "none.pth"], 66),
    (["enhance", "a.wav", "-o", "b.wav", "-m", "mambattention"], 69),
    (["enhance", "a.wav", "-o", "b.wav", "-m", "no-such-model"], 69),
    (["enhance", "a.wav", "-o", "b.wav", "--device", "cuda"], 69),
    (["enhance", "a.wav", "-o", "a2.wav"], 73),
    (["enhance", "a.wav", "-o", "no/folder/b.wav"], 73),
    (["enhance", "a.wav", "-o", "text.wav/b.wav"], 73),
  ])
  func mistakesHaveTheirExitCode(arguments: [String], status: Int) throws {
    defer { braid.remove() }
    try braid.write("a.wav", seconds: 0.1)
    try braid.write("a2.wav", seconds: 0.1)
    try braid.write("nothing.wav", seconds: 0)
    try braid.write("slow.wav", seconds: 0.1, rate: 20)
    try braid.write("cut.flac", seconds: 1, code: 0x170002)
    try braid.write("text.wav", text: "not a recording, only text that goes on for a while")
    try braid.write("empty.wav", text: "")
    try braid.write("picture.png", width: 40, height: 40)
    let flac = URL(fileURLWithPath: braid.folder + "/cut.flac")
    try Data(contentsOf: flac).prefix(20).write(to: flac)
    try Data([0, 0, 0, 24] + Array("ftypisom".utf8) + [UInt8](repeating: 0, count: 5000)).write(
      to: URL(fileURLWithPath: braid.folder + "/video.mp4"))
    try FileManager.default.createDirectory(atPath: braid.folder + "/void", withIntermediateDirectories: true)
    try braid.write("long.wav", seconds: 0.2, rate: 44100)
    let header = try Data(contentsOf: URL(fileURLWithPath: braid.folder + "/a.wav")).prefix(44)
    try header.write(to: URL(fileURLWithPath: braid.folder + "/header.wav"))
    // Links: a picture's name that leads to a recording, and one that leads nowhere.
    for (name, target) in [("a.png", "a.wav"), ("nowhere.wav", "gone.wav")] {
      try FileManager.default.createSymbolicLink(
        atPath: braid.folder + "/" + name, withDestinationPath: target)
    }
    let before = braid.files()
    let run = try braid.run(arguments)
    #expect(run.status == status, "\(run.errors)")
    #expect(!run.errors.isEmpty && run.output.isEmpty)
    #expect(braid.files() == before)
    if run.errors.hasPrefix("error: "), arguments.last != "-" {
      let events = try braid.run(arguments + ["--json"])
      let error = try #require(try events.events().last)
      #expect(events.status == status && events.errors.isEmpty)
      #expect(error["event"]?.stringValue == "error" && error["exit_code"]?.integerValue == status)
    }
  }

  @Test func recordingsCutShortAreTold() throws {
    defer { braid.remove() }
    try braid.write("a.wav", seconds: 1)
    let bytes = try Data(contentsOf: URL(fileURLWithPath: braid.folder + "/a.wav"))
    try bytes.prefix(44 + 2 * 12_000).write(to: URL(fileURLWithPath: braid.folder + "/a.wav"))
    let run = try braid("enhance", "a.wav", "-o", "b.wav")
    #expect(run.status == 0)
    #expect(
      run.errors
        == "note: a.wav: cut short: 0.25 s of the 1.00 s that its header promises are missing\n")
    #expect(try AudioReader.readAll(braid.folder + "/b.wav").samples.count == 12_000)
    let events = try braid("enhance", "a.wav", "-o", "c.wav", "--json").events()
    let result = try #require(events.last)
    #expect(result["truncated"] == .bool(true) && result["missing_samples"]?.integerValue == 4000)
    #expect(events.contains { $0["event"]?.stringValue == "note" })
  }

  @Test func equalRunsGiveEqualFiles() throws {
    defer { braid.remove() }
    try braid.write("a.wav", seconds: 0.3, rate: 44100)
    for suffix in ["wav", "flac", "aiff", "mp3", "w64", "caf"] {
      for encoding in suffix == "mp3" ? [nil] : suffix == "flac" ? ["pcm16", "pcm24"] : ["pcm16", "float32"] {
        let options = encoding.map { ["--encoding", $0] } ?? []
        for name in ["one", "two"] {
          let run = try braid.run(["enhance", "a.wav", "-o", "\(name).\(suffix)", "--overwrite"] + options)
          #expect(run.status == 0, "\(run.errors)")
        }
        #expect(
          FileManager.default.contentsEqual(
            atPath: braid.folder + "/one." + suffix, andPath: braid.folder + "/two." + suffix), "\(suffix)")
      }
    }
  }

  @Test func inputsGivenTwiceAreTakenOnce() throws {
    defer { braid.remove() }
    try braid.write("in/a.wav", seconds: 0.1)
    try braid.write("other/a.wav", seconds: 0.1)
    let run = try braid("enhance", "in", "in/a.wav", "./in/a.wav", "other/a.wav", "-o", "out")
    #expect(run.status == 0 && run.errors.contains("in/a.wav: given twice, taken once"))
    #expect(run.errors.contains("other/a.wav: goes to a.wav.wav: a.wav is taken by another input"))
    #expect(braid.files().filter { $0.hasPrefix("out/") } == ["out/a.wav", "out/a.wav.wav"])
  }

  @Test func samplesGoThroughPipes() throws {
    defer { braid.remove() }
    try braid.write("a.wav", seconds: 1.3)
    // The same samples as a file and as a stream of bytes.
    let file = try braid("enhance", "a.wav", "-o", "file.wav", "--encoding", "float32", "--segment", "0.5")
    #expect(file.status == 0, "\(file.errors)")
    let pipe = try braid.shell(
      """
      "$0" enhance a.wav -o - --encoding pcm16 --attenuation-limit 0 -q > plain.raw
      "$0" enhance - -o - --input-format s16le:16000:1 --encoding float32 --segment 0.5 -q < plain.raw > piped.raw
      """)
    #expect(pipe.status == 0 && pipe.errors == "", "\(pipe.errors)")
    let plain = try Data(contentsOf: URL(fileURLWithPath: braid.folder + "/plain.raw"))
    #expect(plain.count == 2 * 20800)
    let raw = PCMFormat(encoding: .f32le, sampleRate: 16000, channels: 1)
    let piped = try Data(contentsOf: URL(fileURLWithPath: braid.folder + "/piped.raw"))
    let samples = try AudioReader.readAll(braid.folder + "/file.wav").samples
    #expect(piped.withUnsafeBytes { raw.samples($0) } == samples)
    let leftover = try braid.shell(
      """
      head -c 1001 plain.raw | "$0" enhance - -o c.wav --input-format s16le:16000:1
      """)
    #expect(leftover.status == 0 && leftover.errors.contains("the last 1 bytes are no whole sample"))
    #expect(try AudioReader.readAll(braid.folder + "/c.wav").samples.count == 500)
  }

  @Test func aStreamIsTheSameInAnyBlocks() throws {
    defer { braid.remove() }
    let model = try StreamingMambAttention(
      StreamingMambAttention.Configuration(
        encoderChannels: [8, 8], channels: 8, blocks: 1, heads: 2, window: 4))
    model.parameters.initialize(seed: 1)
    try EnhancementModelFile.write(
      model.parameters.values, of: model, name: "test", card: [:],
      to: braid.folder + "/models/enhance-s-stream.safetensors")
    try braid.write("a.wav", seconds: 0.777, channels: 2)
    let whole = try braid("enhance", "a.wav", "-o", "whole.wav", "--stream")
    #expect(whole.status == 0 && whole.output.contains("algorithmic latency 30.0 ms"), "\(whole.errors)")
    let bytes = try Data(contentsOf: URL(fileURLWithPath: braid.folder + "/whole.wav"))
    for (name, options) in [
      ("b.wav", ["--stream", "--block-ms", "1"]), ("c.wav", ["--stream", "--block-ms", "33"]),
      ("d.wav", ["-m", "enhance-s-stream"]),
    ] {
      let run = try braid.run(["enhance", "a.wav", "-o", name] + options)
      #expect(run.status == 0, "\(run.errors)")
      #expect(try Data(contentsOf: URL(fileURLWithPath: braid.folder + "/" + name)) == bytes)
    }
    let pipe = try braid.shell(
      """
      tail -c +45 a.wav | "$0" enhance - -o - --stream --input-format s16le:16000:2 -q > piped.raw
      tail -c +45 whole.wav | cmp - piped.raw
      """)
    #expect(pipe.status == 0 && pipe.errors == "", "\(pipe.errors)\(pipe.output)")
    let mask = try braid("enhance", "a.wav", "-o", "e.wav", "-m", "enhance-s-stream", "--shared-mask")
    #expect(mask.status == 64)
  }

  @Test func readersThatGoAwayAndFullDevices() throws {
    defer { braid.remove() }
    try braid.write("a.wav", seconds: 3)
    let gone = try braid.shell(#""$0" enhance a.wav -o - --segment 0.5 | true; exit ${PIPESTATUS[0]}"#)
    #expect(gone.status == 0, "\(gone.errors)")
    let full = try braid.shell(#""$0" enhance a.wav -o - >/dev/full"#)
    #expect(full.status == 73 && full.errors.contains("cannot be written"))
    let disk = try braid.shell(#"ulimit -f 8; trap '' XFSZ; exec "$0" enhance a.wav -o b.wav"#)
    #expect(disk.status == 73, "\(disk.errors)")
    let closed = try braid.shell(#"exec "$0" enhance a.wav -o c.wav <&- >&- 2>&-"#)
    #expect(closed.status == 0)
    let empty = try braid.shell(#"exec "$0" enhance - -o d.wav --input-format s16le:16000:1 <&-"#)
    #expect(empty.status == 65 && empty.errors.contains("-: holds no samples"))
    #expect(braid.files() == ["a.wav", "c.wav", "models/enhance-s.safetensors"])
  }

  @Test func aBatchGoesOnAfterFailures() throws {
    defer { braid.remove() }
    try braid.write("in/a.wav", seconds: 0.2)
    try braid.write("in/b.flac", seconds: 0.2, code: 0x170002)
    try braid.write("in/below/c.ogg", seconds: 0.2, rate: 48000, code: 0x200060)
    try braid.write("in/Thumbs.db", text: "x")
    try braid.write("in/broken.wav", text: "x")
    let first = try braid("enhance", "in", "missing.wav", "-o", "out")
    #expect(first.status == 1)
    #expect(first.errors.contains("in/Thumbs.db: not a recording, left out"))
    #expect(first.errors.contains("in/below: a folder, left out (--recursive takes it in)"))
    #expect(first.errors.contains("missing.wav: no such file"))
    #expect(first.errors.contains("2 enhanced, 0 kept, 2 failed"))
    #expect(braid.files().filter { $0.hasPrefix("out/") } == ["out/a.wav", "out/b.flac"])
    try FileManager.default.removeItem(atPath: braid.folder + "/in/broken.wav")
    let rest = try braid("enhance", "in", "-o", "out", "--recursive", "--skip-existing")
    #expect(rest.status == 0 && rest.errors.contains("1 enhanced, 2 kept, 0 failed"))
    let again = try braid("enhance", "in", "-o", "out", "--recursive")
    #expect(again.status == 1 && again.errors.contains("0 enhanced, 0 kept, 3 failed"))
    let other = try braid("enhance", "in", "-o", "pcm", "--recursive", "--encoding", "pcm24")
    #expect(other.status == 0)
    #expect(braid.files().filter { $0.hasPrefix("pcm/") } == ["pcm/a.wav", "pcm/b.flac", "pcm/below/c.wav"])
  }

  @Test func eventsAndScoresHaveTheirShape() throws {
    defer { braid.remove() }
    try braid.write("a.wav", seconds: 1.2)
    try braid.write("clean.wav", seconds: 1.2, noise: 0)
    try braid.write("short.wav", seconds: 1)
    let arguments = ["enhance", "a.wav", "-o", "b.wav", "--reference", "clean.wav", "--spectrogram", "s.png"]
    let run = try braid.run(arguments + ["--json", "--threads", "1"])
    #expect(run.status == 0 && run.errors == "", "\(run.errors)")
    let events = try run.events()
    #expect(events.first?["event"]?.stringValue == "start" && events.last?["event"]?.stringValue == "result")
    let result = try #require(events.last)
    #expect(result["samples"]?.integerValue == 19200 && result["segments"]?.integerValue == 1)
    for name in ["si_sdr", "segmental_snr", "stoi", "estoi", "lsd"] {
      #expect(result["noisy"]?[name] != nil && result["noisy"]?[name] != .null, "\(name)")
      #expect(result["enhanced"]?[name] != nil && result["enhanced"]?[name] != .null, "\(name)")
    }
    let picture = try ImageReader.read(braid.folder + "/s.png")
    #expect(picture.width > 3 * 400 && picture.height > 256)
    let text = try braid.run(arguments + ["--overwrite"])
    #expect(text.status == 0, "\(text.errors)")
    let lines = text.output.split(separator: "\n")
    #expect(lines.count == 5 && lines[1].contains("SI-SDR") && lines[4].hasPrefix("gain"))
    let wrong = try braid("enhance", "a.wav", "-o", "c.wav", "--reference", "short.wav")
    #expect(wrong.status == 65 && wrong.errors.contains("16000 samples at 16000 Hz, the recording has 19200"))
  }

  @Test(arguments: [
    MambAttention.Configuration(channels: 16, blocks: 1),
    MambAttention.Configuration(channels: 12, blocks: 2, heads: 1, attention: .none),
    MambAttention.Configuration(
      channels: 8, blocks: 2, heads: 1, kernelSize: 3, expansion: 2, mixer: .mlstm, attention: .none),
  ])
  func publishedCheckpointsAreRecognized(_ configuration: MambAttention.Configuration) throws {
    defer { braid.remove() }
    let model = try MambAttention(configuration)
    model.parameters.initialize(seed: 5)
    let path = braid.folder + "/published.safetensors"
    try SafetensorsWriter.write(model.parameters.values, to: path)
    let loaded = try EnhancementModelRequest(model: path).load(
      from: ModelStore(environment: ["BRAID_MODELS": braid.folder + "/models"]))
    #expect((loaded.model as? MambAttention)?.configuration == model.configuration)
    // Tensors of other shapes do not get the name of a published model.
    for name in ["mambattention", "semamba", "xlstm-senet2"] {
      #expect(try braid("models", "add", "published.safetensors", "--name", name).status == 65)
    }
    #expect(
      try braid("models", "add", "models/enhance-s.safetensors", "--name", "enhance-s-stream").status == 0)
    let list = try braid("models", "list")
    #expect(list.output.contains("enhance-s ") && list.output.contains("mambattention"))
    #expect(try braid("models", "verify", "enhance-s").status == 0)
    let missing = try braid("enhance", "a.wav", "-o", "b.wav", "-m", "mambattention")
    #expect(missing.status == 66)
  }

  @Test func interruptionLeavesNothing() throws {
    defer { braid.remove() }
    try braid.write("a.wav", seconds: 120)
    let process = try braid.start(["enhance", "a.wav", "-o", "b.wav", "--segment", "1"])
    usleep(400_000)
    #expect(process.isRunning)
    process.interrupt()
    process.waitUntilExit()
    #expect(process.terminationReason == .exit && process.terminationStatus == 130)
    #expect(braid.files() == ["a.wav", "models/enhance-s.safetensors"])
  }

  @Test func evaluationPrintsATable() throws {
    defer { braid.remove() }
    for name in ["one.wav", "two.wav"] {
      try braid.write("pairs/clean/" + name, seconds: 0.8, noise: 0)
      try braid.write("pairs/noisy/" + name, seconds: 0.8)
      try braid.write("noises/" + name, seconds: 0.3, noise: 1)
    }
    try braid.write("pairs/clean/alone.wav", seconds: 0.5)
    let pairs = try braid("evaluate", "enhance", "pairs")
    #expect(pairs.status == 0, "\(pairs.errors)")
    #expect(pairs.errors.contains("alone.wav: nothing of that name in noisy/"))
    #expect(pairs.output.contains("\nmean ") && pairs.output.contains("one.wav"))
    try braid.write("list.csv", text: "clean,noise,snr_db\none.wav,two.wav,0\ntwo.wav,one.wav,10\n")
    let arguments = ["evaluate", "enhance", "list.csv", "--clean", "pairs/clean", "--noise", "noises"]
    let events = try braid.run(arguments + ["--json"]).events()
    #expect(events.filter { $0["event"]?.stringValue == "result" }.count == 2)
    let summary = try #require(events.last)
    #expect(summary["event"]?.stringValue == "summary" && summary["recordings"]?.integerValue == 2)
    // The ratio of energies is the list's: SI-SDR differs only by what noise and speech have in common.
    let noisy = try #require(events.first { $0["snr_db"] != nil }?["noisy"]?["si_sdr"])
    #expect(try abs(#require(Double(noisy.text))) < 1)
    #expect(try braid("evaluate", "enhance", "list.csv").status == 64)
    #expect(try braid("evaluate", "enhance", "none").status == 66)
    #expect(try braid("evaluate", "enhance", "noises").status == 66)
    try braid.write("list.csv", text: "clean,noise,snr_db\nmissing.wav,two.wav,0\ntwo.wav,one.wav,10\n")
    #expect(try braid.run(arguments).status == 1)
    try braid.write("list.csv", text: "clean,noise\n")
    #expect(try braid.run(arguments).status == 65)
  }
}

extension BraidExecutable {
  /// The command behind lines of shell.
  func shell(_ lines: String) throws -> Run { try run(["-c", lines, Self.path], executable: "/bin/bash") }

  /// Writes a small model for speech with random weights.
  func writeSpeechModel(_ name: String) throws {
    let model = try MambAttention(
      MambAttention.Configuration(channels: 8, blocks: 1, heads: 2, denseDepth: 1))
    model.parameters.initialize(seed: 1)
    let path = folder + "/" + name
    try FileManager.default.createDirectory(
      atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
    try EnhancementModelFile.write(model.parameters.values, of: model, name: "test", card: [:], to: path)
  }

  /// Writes a recording of syllables of tones, with noise.
  func write(
    _ name: String, seconds: Double, rate: Int = 16000, channels: Int = 1, noise: Float = 0.1,
    code: Int32 = 0x10002
  ) throws {
    let path = folder + "/" + name
    try FileManager.default.createDirectory(
      atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
    var generator = Philox(seed: name.utf8.reduce(7) { $0 &* 31 &+ UInt64($1) })
    var samples: [Float] = []
    for n in 0..<Int(seconds * Double(rate)) {
      let t = Double(n) / Double(rate)
      let voice = max(0, sin(2 * .pi * 3 * t)) * (sin(2 * .pi * 200 * t) + sin(2 * .pi * 730 * t + 1))
      for _ in 0..<channels {
        samples.append((1 - noise) * 0.3 * Float(voice) + noise * Float(generator.uniform(-1...1)))
      }
    }
    let writer = try AudioWriter(path, format: AudioFormat(code: code, sampleRate: rate, channels: channels))
    try writer.write(samples)
    try writer.commit()
  }
}
