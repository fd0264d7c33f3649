import ArgumentParser
import Braid

/// What every training command takes besides its data.
struct TrainingOptions: ParsableArguments {
  @Option(
    name: [.short, .long], help: ArgumentHelp("The recipe, JSON.", valueName: "FILE"),
    completion: .file(extensions: ["json"]))
  var config: String

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

  /// What every training command says of itself.
  static let discussion = """
    The output folder holds the state of the run, metrics.jsonl, curve.png and, at the end, the model as one \
    safetensors file. A run that was stopped at any moment goes on when the same command is given again, and ends \
    with the same bits.
    """

  /// Trains by the recipe and tells how it goes.
  ///
  /// - Parameters:
  ///   - job: the subcommand's name.
  ///   - data: the folders of data, by their option.
  ///   - validation: the figure that steps which were validated have.
  ///   - train: runs the recipe from an initial checkpoint in a folder, and gives the path of the model.
  func run<Recipe: TrainingRecipe>(
    _ job: String, data: [(String, [String])], validation: String,
    train: (Recipe, Checkpoint?, String, @escaping (Trainer.Progress) -> Void) throws -> String
  ) async throws {
    let console = Console(report)
    Interruption.handle(advice: "the same command goes on from the last saved step")
    try await reporting(console) {
      _ = try device.apply()
      let recipe = try Recipe.read(from: config)
      let initial = try weights.map {
        try Checkpoint.open($0, options: CheckpointOptions(weightsKey: weightsKey))
      }
      console.event(
        "start",
        [
          ("command", .string("train \(job)")), ("model", .string(recipe.name)),
          ("steps", .integer(recipe.plan.steps)),
        ] + data.map { ($0.0, JSONValue.array($0.1.map { .string($0) })) } + [("folder", .string(output))])
      let path = try train(recipe, initial, output) { progress in
        console.training(progress, name: recipe.name, validation: validation)
      }
      console.result(path.escapedForTerminal, [("model", .string(recipe.name)), ("output", .string(path))])
    }
  }
}
