import ArgumentParser
import Braid
import Foundation

/// braid restore
struct RestoreCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restore",
    abstract: "Restore pictures: remove noise, or enlarge.",
    discussion: """
      Without --model, noise is removed; with --scale, the shipped upscaler of that factor is used. Reads PNG, JPEG, \
      BMP, WebP and TIFF (told by content), writes PNG, JPEG and NPY (float32, not clamped). Depth, transparency, \
      colour profile and EXIF are kept; transparency is enlarged by the model too, and left as it is where the size \
      stays. Files appear whole or not at all.

      Examples:
        braid restore photo.png -o clean.png
        braid restore photo.png -o large.png --scale 2
        braid restore photo.png -o large.png --model bicubic-x2
        braid restore pictures -o restored --recursive --skip-existing
        braid restore photo.png -o clean.png --tile 128 --memory 1G --json

      Exit codes: 0 done; 1 some of several inputs failed; 64 usage; 65 bad data; 66 no input; 69 device or model \
      unavailable; 73 output cannot be created; 130 interrupted.
      """)

  @Argument(
    help: ArgumentHelp("Pictures, or folders of them.", valueName: "input"), completion: .file())
  var inputs: [String]

  @Option(
    name: [.short, .long], help: "A file; or a folder, for several inputs.", completion: .file())
  var output: String

  @OptionGroup var model: ModelOptions

  @Option(
    name: [.short, .long],
    help: ArgumentHelp("Enlarge by this factor; the model must have been built for it.", valueName: "N"))
  var scale: Int?

  @OptionGroup var tiles: TileOptions

  @Option(help: "png, jpg or npy (default: what the output's extension names, or the input's format).")
  var format: OutputFormat?

  @Option(help: ArgumentHelp("Quality of JPEG files, 1 to 100.", valueName: "N"))
  var jpegQuality = 95

  @OptionGroup var batch: BatchOptions

  @Flag(help: "Leave colour profile and EXIF out.")
  var stripMetadata = false

  @Option(
    help: ArgumentHelp(
      "Print PSNR and SSIM against this picture (a folder, for several inputs).", valueName: "FILE"),
    completion: .file())
  var reference: String?

  @OptionGroup var device: DeviceOptions

  @Option(
    help: ArgumentHelp("Seed of models that draw random numbers (BRAID_SEED; default: 0).", valueName: "N"))
  var seed: Int?

  @OptionGroup var report: ReportOptions

  func validate() throws {
    guard (1...100).contains(jpegQuality) else { throw ValidationError("--jpeg-quality must be 1 to 100.") }
    if let scale, scale < 1 { throw ValidationError("--scale must be 1 or more.") }
    if output.isEmpty { throw ValidationError("--output must not be empty.") }
  }

  mutating func run() async throws {
    let seed = Result { try EnvironmentDefault.value(self.seed, "BRAID_SEED") ?? 0 }
    let console = Console(report, seed: try? seed.get())
    Interruption.handle(advice: "finished files are kept; the same command with --skip-existing goes on")
    try await reporting(console) {
      _ = try seed.get()
      try await run(console)
    }
  }

  private func run(_ console: Console) async throws {
    _ = try device.apply()
    let options = try tiles.options()
    let plan = try BatchPlan(
      PictureFiles(asked: format?.format), inputs: inputs, output: output, recursive: batch.recursive,
      existing: batch.existing)
    try await plan.run(console, done: "restored") {
      let loaded = try model.request(scale: scale).load()
      console.event(
        "start",
        [
          ("command", .string("restore")), ("model", .string(loaded.name)),
          ("weights", .string(loaded.source)), ("scale", .integer(loaded.model.scale)),
          ("inputs", .integer(plan.jobs.count)), ("skipped", .integer(plan.skipped.count)),
        ])
      return RestorePipeline(model: loaded.model)
    } work: { pipeline, job, index, label in
      try await restore(job, index, of: plan.jobs.count, label, pipeline, options, console)
    }
  }

  private func restore(
    _ job: BatchPlan<PictureFiles>.Job, _ index: Int, of count: Int, _ label: String,
    _ pipeline: RestorePipeline, _ options: RestoreOptions, _ console: Console
  ) async throws {
    let result = try await pipeline.run(
      input: job.input, output: job.output, format: job.format, options: options,
      writer: ImageWriter.Options(jpegQuality: jpegQuality, stripMetadata: stripMetadata)
    ) { event in
      switch event {
      case .note(let text): console.note(text, file: job.input)
      case .progress(let progress):
        console.progress(
          label, progress.fraction, secondsLeft: progress.secondsLeft,
          detail: progress.tileCount > 1 ? "tile \(progress.tilesDone)/\(progress.tileCount)" : "",
          fields: [
            ("file", .string(job.input)), ("index", .integer(index)), ("inputs", .integer(count)),
            ("tiles_done", .integer(progress.tilesDone)), ("tiles", .integer(progress.tileCount)),
          ])
      }
    }
    let quality = try measure(job, result, pipeline.model.scale)
    let (from, to) = (result.source, result.restored)
    let time = String(format: "%.2f", result.seconds)
    var text =
      "\(job.input.escapedForTerminal) -> \(job.output.escapedForTerminal)  "
      + "\(from.width) x \(from.height) -> \(to.width) x \(to.height)  \(time) s"
    if let quality { text += "\n" + quality.text }
    console.result(
      text,
      [
        ("file", .string(job.input)), ("output", .string(job.output)),
        ("format", .string(job.format.rawValue)),
        ("width", .integer(to.width)), ("height", .integer(to.height)), ("channels", .integer(to.channels)),
        ("depth", .integer(job.format == .npy ? 32 : to.depth)),
        ("seconds", .rounded(result.seconds, places: 3)),
        ("psnr", quality.map { .rounded($0.psnr, places: 4) } ?? .null),
        ("ssim", quality?.ssim.map { .rounded($0, places: 6) } ?? .null),
      ])
  }

  private func measure(
    _ job: BatchPlan<PictureFiles>.Job, _ result: RestoreResult, _ scale: Int
  ) throws -> PictureQuality? {
    guard let reference else { return nil }
    var path = reference
    if FileIdentity(reference)?.kind == .folder {
      path = reference + "/" + job.input.lastComponent
    }
    return try PictureQuality(result.restored, reference: ImageReader.read(path), scale: scale)
  }
}

/// What `--format` takes.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
  case png
  case jpg
  case npy

  var format: ImageFormat {
    switch self {
    case .png: .png
    case .jpg: .jpeg
    case .npy: .npy
    }
  }
}
