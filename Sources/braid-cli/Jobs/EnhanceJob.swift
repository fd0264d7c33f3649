import Braid
import Foundation

/// What `braid enhance` does to one recording, and what it says of it.
struct EnhanceJob {
  let pipeline: EnhancePipeline
  let options: EnhanceOptions
  let encoding: AudioFormat.Encoding?
  let blockSeconds: Double?
  /// What standard input holds.
  let inputFormat: PCMFormat?
  /// A clean recording, or a folder of them.
  let reference: String?
  /// A PNG file to draw, or a folder for such files.
  let spectrogram: String?
  /// What happens to a spectrogram that exists.
  let existing: ExistingOutput
  let console: Console

  /// Samples that are kept for measuring and drawing, at most.
  private static let keptLimit = 1 << 26

  func run(_ input: String, to output: String, index: Int, of count: Int, label: String) async throws {
    let source: any SampleSource
    if input == "-", let inputFormat {
      source = PCMReader(format: inputFormat)
    } else {
      source = try AudioReader(input)
    }
    try checkFiles(input, source)
    let kept = reference == nil && spectrogram == nil ? nil : KeptSamples(limit: Self.keptLimit)
    let result = try await pipeline.run(
      source, options: options, blockFrames: blockFrames(source), observer: kept
    ) { event in
      switch event {
      case .note(let text): console.note(text, file: input)
      case .progress(let progress):
        guard let fraction = progress.fraction else { return }
        console.progress(
          label, fraction, secondsLeft: progress.secondsLeft,
          detail: progress.secondsTotal.map {
            "\(ProgressDisplay.time(progress.secondsDone)) of \(ProgressDisplay.time($0))"
          } ?? "",
          fields: [
            ("file", .string(input)), ("index", .integer(index)), ("inputs", .integer(count)),
            ("seconds_done", .rounded(progress.secondsDone, places: 3)),
          ])
      }
    } into: { rate in
      try open(output, source, rate)
    }
    if let leftover = (source as? PCMReader)?.leftoverBytes, leftover > 0 {
      console.note("the last \(leftover) bytes are no whole sample and were left out", file: input)
    }
    if let kept, kept.isOver { console.note("too long to be measured or drawn", file: input) }
    let comparison = try measured(kept, result, input)
    tell(result, comparison, input, output)
    try draw(kept, result, input)
  }

  /// What would be found out only at the end, when the work is done.
  private func checkFiles(_ input: String, _ source: any SampleSource) throws {
    if let reference {
      // Lengths are compared where the recording is: a file may promise more than it holds.
      try SpeechComparison.check(
        reference: Self.counterpart(reference, of: input), channels: source.format.channels,
        sampleRate: source.format.sampleRate, length: source.declaredLength)
    }
    guard let path = spectrogramPath(input) else { return }
    if let identity = FileIdentity(path), identity.kind == .regular {
      let others = [input, reference.map { Self.counterpart($0, of: input) }].compactMap { $0 }
      if others.contains(where: { FileIdentity($0) == identity }) {
        throw Failure.usage("\(path): is an input, and would be lost", hint: "choose another --spectrogram")
      }
      if existing == .refuse {
        throw Failure(
          exitCode: Exit.cannotCreate, code: "exists", message: "\(path): exists already",
          hint: "use --overwrite to replace it")
      }
    }
    let parent = path.parentPath.isEmpty ? "." : path.parentPath
    let isFolder = FileIdentity(parent)?.kind == .folder
    guard isFolder, access(parent, W_OK | X_OK) == 0 else {
      throw Failure(
        exitCode: Exit.cannotCreate, code: "cannot_create",
        message: "\(path): cannot be created: "
          + (isFolder ? "\(parent) may not be written to" : "there is no folder \(parent)"))
    }
  }

  /// The file to draw.
  private func spectrogramPath(_ input: String) -> String? {
    spectrogram.map { path in
      guard FileIdentity(path)?.kind == .folder else { return path }
      return path + "/" + (input == "-" ? "samples" : input.lastComponent) + ".png"
    }
  }

  /// Samples of a channel that are read at once.
  private func blockFrames(_ source: any SampleSource) -> Int {
    guard pipeline.latency != nil else { return 1 << 15 }
    let seconds = blockSeconds ?? (source is PCMReader ? 0.01 : 1)
    // Blocks of any size give the same samples; this one fits in memory.
    let most = (1 << 22) / source.format.channels
    return max(1, min(most, Int(seconds * Double(source.format.sampleRate))))
  }

  private func open(
    _ output: String, _ source: any SampleSource, _ rate: Int
  ) throws -> (sink: any SampleSink, format: AudioFormat) {
    guard output == "-" else {
      let format = try source.format.forOutput(output, encoding: encoding, sampleRate: rate)
      return (try AudioWriter(output, format: format), format)
    }
    var format = PCMFormat(source.format, encoding: encoding)
    format.sampleRate = rate
    return (PCMWriter(format: format), format.audioFormat)
  }

  private func measured(
    _ kept: KeptSamples?, _ result: EnhanceResult, _ input: String
  ) throws -> SpeechComparison? {
    guard let reference, let kept, !kept.isOver else { return nil }
    return try SpeechComparison(
      noisy: kept.noisy, enhanced: kept.enhanced, channels: result.output.channels,
      sampleRate: result.output.sampleRate, reference: Self.counterpart(reference, of: input))
  }

  private func draw(_ kept: KeptSamples?, _ result: EnhanceResult, _ input: String) throws {
    guard let path = spectrogramPath(input), let kept, !kept.isOver else { return }
    if existing == .skip, FileIdentity(path) != nil {
      return console.note("exists, kept: \(path)", file: input)
    }
    let format = result.output
    func mono(_ samples: [Float], _ channels: Int) -> [Float] {
      channels == 1
        ? samples
        : stride(from: 0, to: samples.count, by: channels).map { start in
          samples[start..<start + channels].reduce(0, +) / Float(channels)
        }
    }
    var recordings = [
      ("noisy", mono(kept.noisy, format.channels)), ("enhanced", mono(kept.enhanced, format.channels)),
    ]
    if let reference {
      let (samples, own) = try AudioReader.readAll(Self.counterpart(reference, of: input))
      let clean = mono(samples, own.channels)
      recordings.append(
        (
          "reference",
          own.sampleRate == format.sampleRate
            ? clean
            : Resampler(from: own.sampleRate, to: format.sampleRate).process(clean, isLast: true)
        ))
    }
    try Spectrogram.plot(recordings, sampleRate: format.sampleRate).write(to: path)
  }

  /// The file, or the file of the input's name in a folder.
  private static func counterpart(_ path: String, of input: String) -> String {
    FileIdentity(path)?.kind == .folder ? path + "/" + input.lastComponent : path
  }

  private func tell(
    _ result: EnhanceResult, _ comparison: SpeechComparison?, _ input: String, _ output: String
  ) {
    let (from, to) = (result.input, result.output)
    func text(_ seconds: Double) -> String { String(format: "%.2f s", seconds) }
    var line =
      "\(input.escapedForTerminal) -> \(output.escapedForTerminal)  \(to.sampleRate) Hz, "
      + "\(to.channels) channel\(to.channels == 1 ? "" : "s"), \(text(result.duration)) in \(text(result.seconds))"
    if from.sampleRate != result.modelRate {
      line += ", from \(from.sampleRate) Hz at \(result.modelRate) Hz (libsamplerate)"
    }
    if let latency = pipeline.latency {
      line += String(format: ", algorithmic latency %.1f ms", 1000 * latency)
      if from.sampleRate != result.modelRate { line += " and the resampler's" }
    }
    if result.segments > 1 { line += ", \(result.segments) segments" }
    if let comparison { line += "\n" + comparison.table }
    // Samples have standard output for themselves.
    if output == "-" { return console.metrics(line, []) }
    console.result(
      line,
      [
        ("file", .string(input)), ("output", .string(output)), ("format", .string(to.description)),
        ("rate", .integer(to.sampleRate)), ("channels", .integer(to.channels)),
        ("samples", .integer(result.outputLength)), ("input_rate", .integer(from.sampleRate)),
        ("model_rate", .integer(result.modelRate)), ("segments", .integer(result.segments)),
        ("latency_ms", pipeline.latency.map { .rounded(1000 * $0, places: 3) } ?? .null),
        ("replaced_samples", .integer(result.replacedSamples)),
        ("truncated", .bool(result.shortfall != nil)),
        ("missing_samples", result.shortfall?.missing.map { .integer($0) } ?? .null),
        ("seconds", .rounded(result.seconds, places: 3)),
        ("noisy", comparison.map { $0.noisy.json } ?? .null),
        ("enhanced", comparison.map { $0.enhanced.json } ?? .null),
      ])
  }
}

extension AudioShortfall {
  /// Samples of a channel that are missing; nil where that is not known.
  fileprivate var missing: Int? {
    if case .samples(let count) = self { return count }
    return nil
  }
}

/// Samples before and after, kept while a recording goes through.
private final class KeptSamples: SampleObserver {
  private(set) var noisy: [Float] = []
  private(set) var enhanced: [Float] = []
  /// Whether there were more than are kept.
  private(set) var isOver = false
  private let limit: Int

  init(limit: Int) { self.limit = limit }

  func observe(noisy before: [Float], enhanced after: [Float]) {
    guard !isOver else { return }
    isOver = noisy.count + before.count > limit
    if isOver {
      (noisy, enhanced) = ([], [])
    } else {
      noisy += before
      enhanced += after
    }
  }
}
