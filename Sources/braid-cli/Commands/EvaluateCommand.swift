import ArgumentParser
import Braid
import Foundation

/// braid evaluate
struct EvaluateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate", abstract: "Measure a model on data whose truth is known.",
    subcommands: [EvaluateRestoreCommand.self, EvaluateEnhanceCommand.self])
}

/// braid evaluate restore
struct EvaluateRestoreCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restore",
    abstract: "Spoil the pictures of a folder, restore them, and print PSNR and SSIM.",
    discussion: """
      The pictures of DIR are the truth. They are blurred, shrunk by the model's scale (MATLAB's antialiased bicubic, \
      after cropping to a multiple), given noise (added in float, neither clipped nor rounded) and coded as JPEG, as \
      asked for, and restored; the output is rounded to 8 bits. As BasicSR computes it, an enlargement is measured on \
      Y without `scale` pixels at each border, anything else on RGB. "before" is the spoilt picture itself, or its \
      bicubic enlargement.

      Examples:
        braid evaluate restore pictures --model bicubic-x2
        braid evaluate restore pictures --noise-sigma 25
        braid evaluate restore pictures --scale 2 --json
      """)

  @Argument(
    help: ArgumentHelp("A folder of clean pictures, or pictures.", valueName: "dir"), completion: .directory)
  var paths: [String]

  @OptionGroup var model: ModelOptions

  @Option(name: [.short, .long], help: ArgumentHelp("The factor of enlargement.", valueName: "N"))
  var scale: Int?

  @Option(help: ArgumentHelp("Standard deviation of Gaussian noise, on a scale of 255.", valueName: "SIGMA"))
  var noiseSigma: Float = 0

  @Option(help: ArgumentHelp("Code the spoilt picture as JPEG of this quality.", valueName: "N"))
  var jpegQuality: Int?

  @Option(help: ArgumentHelp("Standard deviation of a Gaussian blur, in pixels.", valueName: "SIGMA"))
  var blurSigma: Float = 0

  @Option(help: "Measure on y or rgb (default: y for enlargements, rgb otherwise).")
  var metric: MetricColours?

  @Option(
    help: ArgumentHelp(
      "Pixels that are left out at each border (default: the scale for enlargements).", valueName: "N"))
  var cropBorder: Int?

  @OptionGroup var tiles: TileOptions
  @OptionGroup var device: DeviceOptions

  @Option(help: ArgumentHelp("Seed of the noise (BRAID_SEED; default: 0).", valueName: "N"))
  var seed: Int?

  @OptionGroup var report: ReportOptions

  func validate() throws {
    guard (0...255).contains(noiseSigma) else { throw ValidationError("--noise-sigma must be 0 to 255.") }
    guard (0...100).contains(blurSigma) else { throw ValidationError("--blur-sigma must be 0 to 100.") }
    if let jpegQuality, !(1...100).contains(jpegQuality) {
      throw ValidationError("--jpeg-quality must be 1 to 100.")
    }
    if let cropBorder, cropBorder < 0 { throw ValidationError("--crop-border must be 0 or more.") }
    if let scale, scale < 1 { throw ValidationError("--scale must be 1 or more.") }
  }

  mutating func run() async throws {
    let seed = Result { try EnvironmentDefault.value(self.seed, "BRAID_SEED") ?? 0 }
    let console = Console(report, seed: try? seed.get())
    Interruption.handle(advice: "no files were written")
    try await reporting(console) { try await run(console, seed.get()) }
  }

  private func run(_ console: Console, _ seed: Int) async throws {
    _ = try device.apply()
    let options = try tiles.options()
    let files = try pictures(console)
    let loaded = try model.request(scale: scale).load()
    let scale = loaded.model.scale
    let usesY = metric.map { $0 == .y } ?? (scale > 1)
    let border = cropBorder ?? (scale > 1 ? scale : 0)
    console.event(
      "start",
      [
        ("command", .string("evaluate restore")), ("model", .string(loaded.name)),
        ("weights", .string(loaded.source)), ("scale", .integer(scale)), ("inputs", .integer(files.count)),
        ("noise_sigma", .number(Double(noiseSigma))), ("blur_sigma", .number(Double(blurSigma))),
        ("jpeg_quality", jpegQuality.map { .integer($0) } ?? .null),
        ("metric", .string(usesY ? "y" : "rgb")), ("crop_border", .integer(border)),
      ])
    let pipeline = RestorePipeline(model: loaded.model)
    let names = files.map { $0.lastComponent }
    let width = max(7, names.map(\.count).max() ?? 0)
    var rows: [(before: PictureQuality, after: PictureQuality, seconds: Double)] = []
    var failed = 0
    for (index, path) in files.enumerated() {
      do {
        let truth = try ImageReader.read(path).opaqueEightBit()
        let trial = try Trial(
          truth, scale: scale, blurSigma: blurSigma, noiseSigma: noiseSigma, jpegQuality: jpegQuality,
          // From the name, so that a picture is spoilt the same way in any folder.
          generator: Philox(seed: UInt64(bitPattern: Int64(seed))).split(Self.number(names[index])))
        let start = Date()
        let restored = try await pipeline.run(trial.spoilt, options: options) { event in
          if case .progress(let progress) = event {
            console.progress(
              "\(index + 1)/\(files.count) \(names[index])", progress.fraction,
              secondsLeft: progress.secondsLeft,
              fields: [
                ("file", .string(path)), ("index", .integer(index)), ("inputs", .integer(files.count)),
              ])
          }
        }
        let seconds = Date().timeIntervalSince(start)
        func quality(_ tensor: Tensor) throws -> PictureQuality {
          try PictureQuality(
            ImageBuffer(tensor: tensor, colourModel: trial.truth.colourModel), reference: trial.truth,
            scale: scale,
            usesY: usesY, border: border)
        }
        let before = try quality(
          scale > 1 ? BicubicResize.resize(trial.spoilt, scale: Double(scale)) : trial.spoilt)
        let after = try quality(restored)
        if rows.isEmpty && !console.isJSON {
          console.result(Self.line("picture", width, ["before", "PSNR", "SSIM", "seconds"]), [])
        }
        rows.append((before, after, seconds))
        console.result(
          Self.line(names[index], width, Self.figures(before.psnr, after.psnr, after.ssim, seconds)),
          [
            ("file", .string(path)), ("width", .integer(trial.truth.width)),
            ("height", .integer(trial.truth.height)), ("psnr_before", .rounded(before.psnr, places: 4)),
            ("psnr", .rounded(after.psnr, places: 4)),
            ("ssim", after.ssim.map { .rounded($0, places: 6) } ?? .null),
            ("seconds", .rounded(seconds, places: 3)),
          ])
      } catch {
        let failure = Failure(error)
        console.error(failure, file: path)
        if files.count == 1 || error is CancellationError { throw ExitCode(failure.exitCode) }
        failed += 1
      }
    }
    guard !rows.isEmpty else { throw ExitCode(Exit.badData) }
    func mean(_ value: (Int) -> Double) -> Double {
      rows.indices.reduce(0) { $0 + value($1) } / Double(rows.count)
    }
    let similarities = rows.compactMap(\.after.ssim)
    let ssim = similarities.isEmpty ? nil : similarities.reduce(0, +) / Double(similarities.count)
    let (before, after) = (mean { rows[$0].before.psnr }, mean { rows[$0].after.psnr })
    let seconds = mean { rows[$0].seconds }
    if console.isJSON {
      console.event(
        "summary",
        [
          ("pictures", .integer(rows.count)), ("failed", .integer(failed)),
          ("psnr_before", .rounded(before, places: 4)), ("psnr", .rounded(after, places: 4)),
          ("ssim", ssim.map { .rounded($0, places: 6) } ?? .null), ("seconds", .rounded(seconds, places: 3)),
        ])
    } else {
      console.result(Self.line("mean", width, Self.figures(before, after, ssim, seconds)), [])
    }
    if failed > 0 { throw ExitCode(Exit.someFailed) }
  }

  private func pictures(_ console: Console) throws -> [String] {
    var files: [String] = []
    for path in paths {
      guard FileIdentity(path)?.kind == .folder else {
        files.append(path)
        continue
      }
      guard let names = try? FileManager.default.contentsOfDirectory(atPath: path) else {
        throw ImageError.unreadable(path: path, reason: "the folder cannot be listed")
      }
      for name in names.sorted() where !name.hasPrefix(".") {
        let file = path + "/" + name
        guard FileIdentity(file)?.kind == .regular else { continue }
        if ImageReader.format(ofFile: file).map({ $0 != .npy }) ?? false {
          files.append(file)
        } else {
          console.note("not a picture, left out", file: file)
        }
      }
    }
    if files.isEmpty {
      throw Failure(
        exitCode: Exit.noInput, code: "not_found", message: "no pictures in \(paths.joined(separator: ", "))")
    }
    return files
  }

  private static func number(_ name: String) -> UInt64 {
    name.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
  }

  private static func figures(_ before: Double, _ after: Double, _ ssim: Double?, _ seconds: Double)
    -> [String]
  {
    [
      String(format: "%.2f", before), String(format: "%.2f", after),
      ssim.map { String(format: "%.4f", $0) } ?? "-",
      String(format: "%.2f", seconds),
    ]
  }

  private static func line(_ name: String, _ width: Int, _ columns: [String]) -> String {
    func spaces(_ count: Int) -> String { String(repeating: " ", count: max(0, count)) }
    let cells = columns.map { spaces(9 - $0.count) + $0 }
    return name.escapedForTerminal + spaces(width - name.count) + cells.joined()
  }
}

/// What `--metric` takes.
enum MetricColours: String, ExpressibleByArgument, CaseIterable {
  case y
  case rgb
}

/// A clean picture and its spoilt version.
private struct Trial {
  let truth: ImageBuffer
  /// [1, H / scale, W / scale, 3] in about 0...1.
  let spoilt: Tensor

  init(
    _ picture: ImageBuffer, scale: Int, blurSigma: Float, noiseSigma: Float, jpegQuality: Int?,
    generator: Philox
  ) throws {
    guard picture.width >= scale, picture.height >= scale else {
      throw ImageQuality.Failure.tooSmall(width: picture.width, height: picture.height, cropBorder: scale)
    }
    truth = picture.cropped(toMultipleOf: scale)
    var generator = generator
    var degradations: [Degradation] = []
    if blurSigma > 0 { degradations.append(.blur(sigma: blurSigma...blurSigma)) }
    var image: Tensor
    if scale > 1 && degradations.isEmpty {
      // The benchmark's own way, from 8 bits to 8 bits.
      image = BicubicResize.resize(truth, scale: 1 / Double(scale)).tensor().squeezed(0)
    } else {
      image = truth.tensor().squeezed(0)
      if scale > 1 { degradations.append(.downscale(factor: scale)) }
    }
    if noiseSigma > 0 { degradations.append(.noise(sigma: noiseSigma...noiseSigma)) }
    if let jpegQuality { degradations.append(.jpeg(quality: jpegQuality...jpegQuality)) }
    image = try Degradation.apply(degradations, to: image, using: &generator)
    spoilt = image.unsqueezed(0)
  }
}

extension ImageBuffer {
  /// The upper left part whose sides are multiples of `unit`; 8 bits, without alpha.
  fileprivate func cropped(toMultipleOf unit: Int) -> ImageBuffer {
    let (newWidth, newHeight) = (width / unit * unit, height / unit * unit)
    guard case .eight(let values) = samples, newWidth != width || newHeight != height else { return self }
    var kept: [UInt8] = []
    kept.reserveCapacity(newWidth * newHeight * channels)
    for y in 0..<newHeight { kept += values[y * width * channels..<(y * width + newWidth) * channels] }
    return ImageBuffer(
      width: newWidth, height: newHeight, colourModel: colourModel, hasAlpha: hasAlpha, samples: .eight(kept))
  }
}
