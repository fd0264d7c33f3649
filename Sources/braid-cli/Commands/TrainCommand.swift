import ArgumentParser
import Braid

/// braid train
struct TrainCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train", abstract: "Train a model.",
    subcommands: [TrainRestoreCommand.self, TrainEnhanceCommand.self])
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
      let recipe = try TrainingRecipe.read(RestoreTrainingConfiguration.self, from: config)
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
        console.training(progress, name: recipe.name, validation: "psnr")
      }
      console.result(path.escapedForTerminal, [("model", .string(recipe.name)), ("output", .string(path))])
    }
  }
}
