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
      \(TrainingOptions.discussion)

      Example: braid train restore --config recipe.json --data pictures -o run
      """)

  @Option(
    help: ArgumentHelp("A folder of clean pictures; may be given several times.", valueName: "DIR"),
    completion: .directory)
  var data: [String]

  @OptionGroup var options: TrainingOptions

  mutating func run() async throws {
    try await options.run("restore", data: [("data", data)], validation: "psnr") {
      recipe, initial, folder, progress in
      try RestoreTraining.run(recipe, data: data, initial: initial, folder: folder, progress: progress)
    }
  }
}

extension RestoreTrainingConfiguration: TrainingRecipe {}
