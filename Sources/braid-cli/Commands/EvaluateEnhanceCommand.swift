import ArgumentParser
import Braid
import Foundation

/// braid evaluate enhance
struct EvaluateEnhanceCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "enhance",
    abstract: "Enhance noisy speech whose truth is known, and print how close it comes.",
    discussion: """
      Takes a folder that holds clean/ and noisy/ with recordings of the same names, or a list of mixtures: a CSV file \
      with the columns clean, noise and snr_db, whose files are in --clean DIR and --noise DIR. The noise of a mixture \
      is repeated from its start to the clip's length, its gain follows from the energies over the whole clip, and \
      nothing is clipped. Measured are SI-SDR, segmental SNR, log-spectral distance (dB), STOI and ESTOI at 16 kHz, of \
      samples in float. Files have one channel.

      Examples:
        braid evaluate enhance pairs
        braid evaluate enhance mixtures.csv --clean speech --noise noises
        braid evaluate enhance pairs --stream --json
      """)

  @Argument(
    help: ArgumentHelp("A folder of pairs, or a list of mixtures (CSV).", valueName: "path"),
    completion: .file(extensions: ["csv"]))
  var path: String

  @Option(
    help: ArgumentHelp("The folder of a list's clean recordings.", valueName: "DIR"), completion: .directory)
  var clean: String?

  @Option(help: ArgumentHelp("The folder of a list's noises.", valueName: "DIR"), completion: .directory)
  var noise: String?

  @OptionGroup var model: ModelOptions

  @Flag(help: "Measure the model that works on a stream.")
  var stream = false

  @OptionGroup var segments: SegmentOptions

  @Option(
    help: ArgumentHelp(
      "Attenuate nothing by more than this: so much of the input is mixed back in.", valueName: "DB"))
  var attenuationLimit: Double?

  @OptionGroup var device: DeviceOptions
  @OptionGroup var report: ReportOptions

  func validate() throws {
    if let attenuationLimit, !(0...200).contains(attenuationLimit) {
      throw ValidationError("--attenuation-limit must be 0 to 200.")
    }
  }

  mutating func run() async throws {
    let console = Console(report)
    Interruption.handle(advice: "no files were written")
    try await reporting(console) { try await run(console) }
  }

  private func trials() throws -> SpeechTrials {
    switch FileIdentity(path)?.kind {
    case nil: throw AudioError.notFound(path: path)
    case .folder:
      guard clean == nil, noise == nil else { throw Failure.usage("--clean and --noise go with a list") }
      return try SpeechTrials(pairs: path)
    default:
      guard let clean, let noise else {
        throw Failure.usage("a list of mixtures needs --clean DIR and --noise DIR")
      }
      return try SpeechTrials(list: path, clean: clean, noise: noise)
    }
  }

  /// What came of one recording.
  private struct Row {
    let ratio: Double?
    let comparison: SpeechComparison
    let seconds: Double
    let duration: Double
  }

  private func run(_ console: Console) async throws {
    _ = try device.apply()
    var options = try segments.options()
    options.attenuationLimit = attenuationLimit
    options.streams = stream
    let found = try trials()
    for (path, text) in found.notes { console.note(text, file: path) }
    let loaded = try model.speechRequest(streams: stream).load()
    let trials = found.trials
    console.event(
      "start",
      [
        ("command", .string("evaluate enhance")), ("model", .string(loaded.name)),
        ("weights", .string(loaded.source)), ("stream", .bool(stream)), ("inputs", .integer(trials.count)),
      ])
    let pipeline = EnhancePipeline(loaded.model)
    let width = max(9, trials.map(\.name.count).max() ?? 0)
    var rows: [Row] = []
    var failed = 0
    for (index, trial) in trials.enumerated() {
      do {
        let row = try await measure(trial, pipeline, options)
        if rows.isEmpty && !console.isJSON {
          console.result(
            Self.line(
              "recording", width, ["SNR", "SI-SDR", "enhanced", "gain", "ESTOI", "enhanced", "seconds"]), [])
        }
        rows.append(row)
        tell(trial, row, width, console)
        console.progress(
          "\(index + 1)/\(trials.count)", Double(index + 1) / Double(trials.count), secondsLeft: nil,
          fields: [("index", .integer(index)), ("inputs", .integer(trials.count))])
      } catch {
        let failure = Failure(error)
        console.error(failure, file: trial.name)
        if trials.count == 1 || error is CancellationError { throw ExitCode(failure.exitCode) }
        failed += 1
      }
    }
    guard !rows.isEmpty else { throw ExitCode(Exit.badData) }
    summarize(rows, failed, console)
    if failed > 0 { throw ExitCode(Exit.someFailed) }
  }

  private func measure(
    _ trial: SpeechTrials.Trial, _ pipeline: EnhancePipeline, _ options: EnhanceOptions
  ) async throws -> Row {
    let (clean, noisy, rate) = try SpeechTrials.read(trial)
    let start = Date()
    let enhanced = try await pipeline.run([noisy], sampleRate: rate, options: options)[0]
    let seconds = Date().timeIntervalSince(start)
    return Row(
      ratio: trial.ratio,
      comparison: SpeechComparison(noisy: noisy, enhanced: enhanced, reference: clean, sampleRate: rate),
      seconds: seconds, duration: Double(clean.count) / Double(rate))
  }

  private func tell(_ trial: SpeechTrials.Trial, _ row: Row, _ width: Int, _ console: Console) {
    let (before, after) = (row.comparison.noisy, row.comparison.enhanced)
    func ratio(_ value: Double, signed: Bool = false) -> String {
      SpeechScores.text(value, places: 2, signed: signed)
    }
    func share(_ value: Double) -> String { SpeechScores.text(value, places: 3) }
    console.result(
      Self.line(
        trial.name, width,
        [
          trial.ratio.map { String(format: "%g", $0) } ?? "-", ratio(before.scaleInvariantRatio),
          ratio(after.scaleInvariantRatio),
          ratio(after.scaleInvariantRatio - before.scaleInvariantRatio, signed: true),
          share(before.extendedIntelligibility), share(after.extendedIntelligibility),
          String(format: "%.2f", row.seconds),
        ]),
      [
        ("file", .string(trial.name)), ("clean", .string(trial.clean)), ("other", .string(trial.other)),
        ("snr_db", trial.ratio.map { .number($0) } ?? .null), ("noisy", before.json),
        ("enhanced", after.json), ("duration", .rounded(row.duration, places: 3)),
        ("seconds", .rounded(row.seconds, places: 3)),
      ])
  }

  /// The means of each ratio and of all.
  private func summarize(_ rows: [Row], _ failed: Int, _ console: Console) {
    let ratios = Set(rows.compactMap(\.ratio)).sorted()
    var groups = ratios.map { ratio in (String(format: "%g dB", ratio), rows.filter { $0.ratio == ratio }) }
    groups.append(("mean", rows))
    let means = groups.map { name, rows in
      (name: name, count: rows.count, mean: SpeechComparison(meanOf: rows.map(\.comparison))!)
    }
    let speed = rows.reduce(0) { $0 + $1.seconds } / rows.reduce(0) { $0 + $1.duration }
    guard !console.isJSON else {
      func members(_ mean: SpeechComparison, _ count: Int) -> [(String, JSONValue)] {
        let gain = mean.enhanced.scaleInvariantRatio - mean.noisy.scaleInvariantRatio
        return [
          ("recordings", .integer(count)), ("noisy", mean.noisy.json), ("enhanced", mean.enhanced.json),
          ("si_sdr_gain", gain.isFinite ? .rounded(gain, places: 4) : .null),
        ]
      }
      let byRatio = zip(ratios, means).map { ratio, group in
        JSONValue.object([("snr_db", .number(ratio))] + members(group.mean, group.count))
      }
      return console.event(
        "summary",
        members(means.last!.mean, rows.count) + [
          ("by_snr", .array(byRatio)), ("failed", .integer(failed)),
          ("real_time_factor", .rounded(speed, places: 4)),
        ])
    }
    console.result("", [])
    let titles = SpeechScores.columns.flatMap { [$0.title, "enhanced", "gain"] }
    console.result(Self.line("SNR", 8, ["clips"] + titles), [])
    for (name, count, mean) in means {
      let cells = SpeechScores.columns.flatMap { column in
        let (before, after) = (mean.noisy[keyPath: column.path], mean.enhanced[keyPath: column.path])
        return [
          SpeechScores.text(before, places: column.places), SpeechScores.text(after, places: column.places),
          SpeechScores.text(after - before, places: column.places, signed: true),
        ]
      }
      console.result(Self.line(name, 8, ["\(count)"] + cells), [])
    }
    console.result("seconds of work per second of sound: " + String(format: "%.3f", speed), [])
  }

  private static func line(_ name: String, _ width: Int, _ columns: [String]) -> String {
    func spaces(_ count: Int) -> String { String(repeating: " ", count: max(0, count)) }
    let cells = columns.map { spaces(9 - $0.count) + $0 }
    return name.escapedForTerminal + spaces(width - name.count) + cells.joined()
  }
}
