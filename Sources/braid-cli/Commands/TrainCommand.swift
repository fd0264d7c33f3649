import ArgumentParser
import Braid
import Foundation

/// braid train
struct TrainCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train", abstract: "Train a model.", subcommands: [TrainRestoreCommand.self])
}

/// braid train restore
struct TrainRestoreCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restore",
    abstract: "Train a restoration model from a recipe and folders of clean pictures.",
    discussion: """
      The output folder holds the state of the run, metrics.jsonl, curve.png and, at the end, the model as one \
      safetensors file. A run that was stopped at any moment goes on when the same command is given again, and ends \
      with the same bits.

      Example: braid train restore --config recipe.json --data pictures -o run
      """)

  @Option(
    name: [.short, .long], help: ArgumentHelp("The recipe, JSON.", valueName: "FILE"),
    completion: .file(extensions: ["json"]))
  var config: String

  @Option(
    help: ArgumentHelp("A folder of clean pictures; may be given several times.", valueName: "DIR"),
    completion: .directory)
  var data: [String]

  @Option(name: [.short, .long], help: "The folder of the run.", completion: .directory)
  var output: String

  @Option(
    help: ArgumentHelp(
      "Start from the tensors of this checkpoint instead of random ones.", valueName: "FILE"),
    completion: .file(extensions: ["safetensors", "pth", "pt", "bin"]))
  var weights: String?

  @Option(
    help: ArgumentHelp("The set of tensors to take, where a checkpoint holds several.", valueName: "KEY"))
  var weightsKey: String?

  @OptionGroup var device: DeviceOptions
  @OptionGroup var report: ReportOptions

  mutating func run() async throws {
    let console = Console(report)
    Interruption.handle(advice: "the same command goes on from the last saved step")
    try await reporting(console) {
      _ = try device.apply()
      let recipe = try Self.recipe(config)
      let initial = try weights.map {
        try Checkpoint.open($0, options: CheckpointOptions(weightsKey: weightsKey))
      }
      console.event(
        "start",
        [
          ("command", .string("train restore")), ("model", .string(recipe.name)),
          ("steps", .integer(recipe.plan.steps)), ("data", .array(data.map { .string($0) })),
          ("folder", .string(output)),
        ])
      let path = try RestoreTraining.run(recipe, data: data, initial: initial, folder: output) { progress in
        let values = progress.values.sorted { $0.key < $1.key }
        // Validations are kept in sight; other figures pass by.
        if progress.values["psnr"] != nil || console.isJSON {
          let text = values.map { "\($0.key) \(Self.figure($0.value))" }.joined(separator: ", ")
          console.metrics(
            "step \(progress.step): \(text)",
            [("step", .integer(progress.step)), ("steps", .integer(progress.totalSteps))]
              + values.map { ($0.key, JSONValue.number($0.value)) }
              + [("eta_seconds", .rounded(progress.secondsLeft, places: 1))])
        }
        if !console.isJSON {
          console.progress(
            recipe.name, Double(progress.step) / Double(progress.totalSteps),
            secondsLeft: progress.secondsLeft,
            detail: "step \(progress.step)/\(progress.totalSteps)"
              + (progress.values["loss"].map { ", loss \(Self.figure($0))" } ?? ""))
        }
      }
      console.result(path.escapedForTerminal, [("model", .string(recipe.name)), ("output", .string(path))])
    }
  }

  /// Four significant digits.
  private static func figure(_ value: Double) -> String { String(format: "%.4g", value) }

  /// The recipe in a file; what is wrong with it is told with its place.
  private static func recipe(_ path: String) throws -> RestoreTrainingConfiguration {
    guard let data = FileManager.default.contents(atPath: path) else {
      throw Failure(
        exitCode: Exit.noInput, code: "not_found",
        message: "\(path): there is no such recipe that can be read")
    }
    func refuse(_ context: DecodingError.Context?, _ text: String) -> Failure {
      let place = context?.codingPath.map { $0.intValue.map { "[\($0)]" } ?? $0.stringValue } ?? []
      return Failure(
        exitCode: Exit.badData, code: "configuration",
        message: "\(path): \(place.isEmpty ? "" : place.joined(separator: ".") + ": ")\(text)")
    }
    do {
      return try JSONDecoder().decode(RestoreTrainingConfiguration.self, from: data)
    } catch DecodingError.keyNotFound(let key, let context) {
      throw refuse(context, "\"\(key.stringValue)\" is missing")
    } catch DecodingError.typeMismatch(_, let context) {
      throw refuse(context, context.debugDescription)
    } catch DecodingError.valueNotFound(_, let context) {
      throw refuse(context, context.debugDescription)
    } catch DecodingError.dataCorrupted(let context) {
      throw refuse(context, context.debugDescription)
    }
  }
}
