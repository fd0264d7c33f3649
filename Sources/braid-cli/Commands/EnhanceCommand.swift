import ArgumentParser
import Braid
import Foundation

/// braid enhance
struct EnhanceCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "enhance",
    abstract: "Enhance recordings of speech: take noise away.",
    discussion: """
      Reads what libsndfile reads (WAV, FLAC, Ogg Vorbis and Opus, AIFF, MP3, ...), any sample rate and any number of \
      channels. The models work at 16000 Hz: other rates are brought there and back by libsamplerate \
      (SRC_SINC_MEDIUM_QUALITY), so that nothing is left above 8 kHz. The output has the input's rate, length to the \
      sample, and format unless asked otherwise. Files appear whole or not at all.

      A recording of up to 20 s (with the published model: of all that fits in --memory) is enhanced as a whole. A \
      longer one goes through in overlapping, cross-faded segments, in constant memory. The models scale and normalise \
      what they see as a whole, so a segment is judged by its own loudness and noise. Fifty seconds of five voices: \
      segments of 20 s differ from the whole (--segment 0) by an SI-SDR of 13.3 dB, and are 2.8 dB closer to the clean \
      speech; see Documentation/Enhance.md.

      - as input or output is standard input or output: samples without a header, of the format of --input-format \
      (the output's encoding and rate can be chosen). With --stream a model that only looks back is used; its output \
      comes out block by block.

      Examples:
        braid enhance noisy.wav -o clean.wav
        braid enhance noisy.wav -o clean.flac --attenuation-limit 12
        braid enhance recordings -o enhanced --recursive --skip-existing
        braid enhance a.wav -o b.wav -m mambattention --weights seed3441.pth
        braid enhance - -o - --stream --input-format s16le:16000:1 < in > out

      Exit codes: 0 done; 1 some of several inputs failed; 64 usage; 65 bad data; 66 no input; 69 device or model \
      unavailable; 73 output cannot be created; 130 interrupted.
      """)

  @Argument(
    help: ArgumentHelp(
      "Recordings, folders of them, or - for samples on standard input.", valueName: "input"),
    completion: .file())
  var inputs: [String]

  @Option(
    name: [.short, .long],
    help: "A file; a folder, for several inputs; or - for samples on standard output.", completion: .file())
  var output: String

  @OptionGroup var model: ModelOptions

  @Flag(help: "Work on a stream: block by block, with a model that looks back only.")
  var stream = false

  @Option(
    help: ArgumentHelp(
      "Milliseconds that are taken at once from a stream; the result is the same for any (default: 10 for -, else 1000).",
      valueName: "N"))
  var blockMs: Int?

  @OptionGroup var segments: SegmentOptions

  @Option(
    help: ArgumentHelp(
      "Attenuate nothing by more than this: so much of the input is mixed back in.", valueName: "DB"))
  var attenuationLimit: Double?

  @Flag(help: "One gain over time and frequency for all channels, so that voices keep their places.")
  var sharedMask = false

  @Option(
    help: "pcm16, pcm24, float32 or flac (default: the input's, where the output's container takes it).")
  var encoding: AudioFormat.Encoding?

  @Option(help: "keep the input's sample rate, or 16000.")
  var rate: OutputRate = .keep

  @Option(
    help: ArgumentHelp(
      "What standard input holds: s16le, s24le, s32le or f32le, then rate and channels: s16le:16000:1.",
      valueName: "FORMAT"))
  var inputFormat: PCMFormat?

  @OptionGroup var batch: BatchOptions

  @Option(
    help: ArgumentHelp(
      "Print SI-SDR, segmental SNR, STOI, ESTOI and LSD against this clean recording (a folder, for several inputs).",
      valueName: "FILE"),
    completion: .file())
  var reference: String?

  @Option(
    help: ArgumentHelp(
      "Draw the spectrograms before and after (and of the reference) side by side (a folder, for several inputs).",
      valueName: "FILE.png"),
    completion: .file(extensions: ["png"]))
  var spectrogram: String?

  @OptionGroup var device: DeviceOptions
  @OptionGroup var report: ReportOptions

  func validate() throws {
    if output.isEmpty { throw ValidationError("--output must not be empty.") }
    if inputs.contains("") { throw ValidationError("An input's name must not be empty.") }
    if let spectrogram, FileIdentity(spectrogram)?.kind != .folder,
      !spectrogram.lowercased().hasSuffix(".png")
    {
      throw ValidationError("--spectrogram must name a PNG file (.png), or a folder that exists.")
    }
    if let attenuationLimit, !(0...200).contains(attenuationLimit) {
      throw ValidationError("--attenuation-limit must be 0 to 200.")
    }
    if let blockMs, !(1...60_000).contains(blockMs) {
      throw ValidationError("--block-ms must be 1 to 60000.")
    }
    if blockMs != nil && !stream { throw ValidationError("--block-ms needs --stream.") }
    if stream && sharedMask { throw ValidationError("--stream and --shared-mask exclude each other.") }
    if inputs.contains("-") {
      if inputs.count > 1 { throw ValidationError("- is the only input where it is one.") }
      guard inputFormat != nil else {
        throw ValidationError("- needs --input-format, such as --input-format s16le:16000:1.")
      }
    } else if inputFormat != nil {
      throw ValidationError("--input-format is for - as input.")
    }
    if output == "-" {
      if inputs.count > 1 { throw ValidationError("Several inputs need a folder to go into, not -.") }
      if report.json { throw ValidationError("With -o - standard output holds samples, not --json events.") }
      if encoding == .flac { throw ValidationError("The encoding flac goes into a file, not into -.") }
    }
  }

  mutating func run() async throws {
    let console = Console(report)
    Interruption.handle(
      advice: output == "-"
        ? "what was written so far is whole"
        : "finished files are kept; the same command with --skip-existing goes on")
    try await reporting(console) { try await run(console) }
  }

  private func run(_ console: Console) async throws {
    _ = try device.apply()
    var options = try segments.options()
    options.attenuationLimit = attenuationLimit
    options.sharesMask = sharedMask
    options.streams = stream
    options.outputRate = rate == .keep ? .input : .model
    if output == "-" { return try await writeSamples(options, console) }
    if let spectrogram, inputs.count > 1 || FileIdentity(inputs[0])?.kind == .folder,
      FileIdentity(spectrogram)?.kind != .folder
    {
      throw Failure.usage("\(spectrogram): several inputs need a folder that exists for --spectrogram")
    }
    if inputs == ["-"], FileIdentity(output)?.kind == .folder || output.hasSuffix("/") {
      throw Failure.usage("\(output): samples from standard input need the name of a file")
    }
    let plan = try BatchPlan(
      RecordingFiles(encoding: encoding), inputs: inputs, output: output, recursive: batch.recursive,
      existing: batch.existing)
    try await plan.run(console, done: "enhanced") {
      let loaded = try load(console, inputs: plan.jobs.count, skipped: plan.skipped.count)
      return job(loaded, options, console)
    } work: { work, job, index, label in
      try await work.run(job.input, to: job.output, index: index, of: plan.jobs.count, label: label)
    }
  }

  /// One recording to standard output.
  private func writeSamples(_ options: EnhanceOptions, _ console: Console) async throws {
    guard isatty(STDOUT_FILENO) == 0 else {
      throw Failure.usage("standard output is a terminal: samples are not written to it")
    }
    let input = inputs[0]
    if input != "-", FileIdentity(input)?.kind == .folder {
      throw Failure.usage("\(input): a folder needs a folder to go into, not -")
    }
    if input != "-", FileIdentity(input) == nil { throw AudioError.notFound(path: input) }
    let loaded = try load(console, inputs: 1, skipped: 0)
    let work = job(loaded, options, console)
    do {
      try await work.run(input, to: "-", index: 0, of: 1, label: input)
    } catch AudioError.abandoned {
      // It has what it wanted.
      console.note("the reader of standard output went away")
    }
  }

  private func job(
    _ loaded: LoadedEnhancementModel, _ options: EnhanceOptions, _ console: Console
  ) -> EnhanceJob {
    EnhanceJob(
      pipeline: EnhancePipeline(loaded.model), options: options, encoding: encoding,
      blockSeconds: blockMs.map { Double($0) / 1000 }, inputFormat: inputFormat, reference: reference,
      spectrogram: spectrogram, existing: batch.existing, console: console)
  }

  private func load(_ console: Console, inputs: Int, skipped: Int) throws -> LoadedEnhancementModel {
    let loaded = try model.speechRequest(streams: stream).load()
    console.event(
      "start",
      [
        ("command", .string("enhance")), ("model", .string(loaded.name)),
        ("weights", .string(loaded.source)), ("rate", .integer(loaded.model.sampleRate)),
        ("stream", .bool(stream)), ("inputs", .integer(inputs)), ("skipped", .integer(skipped)),
      ])
    return loaded
  }
}

/// What `--rate` takes.
enum OutputRate: String, ExpressibleByArgument, CaseIterable {
  case keep
  case model = "16000"
}

extension AudioFormat.Encoding: ExpressibleByArgument {}

extension PCMFormat: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
}
