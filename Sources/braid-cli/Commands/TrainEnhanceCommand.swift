import ArgumentParser
import Braid

/// braid train enhance
struct TrainEnhanceCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "enhance",
    abstract: "Train a speech enhancement model from a recipe and folders of clean speech and of noise.",
    discussion: """
      Noisy speech is mixed while training runs. Recordings are read from the folders and from those below them, in \
      any format that libsndfile reads and at any sample rate.

      \(TrainingOptions.discussion)

      Example: braid train enhance --config recipe.json --speech speech --noise noise -o run
      """)

  @Option(
    help: ArgumentHelp("A folder of clean speech; may be given several times.", valueName: "DIR"),
    completion: .directory)
  var speech: [String]

  @Option(
    help: ArgumentHelp("A folder of noise; may be given several times.", valueName: "DIR"),
    completion: .directory)
  var noise: [String]

  @OptionGroup var options: TrainingOptions

  mutating func run() async throws {
    try await options.run(
      "enhance", data: [("speech", speech), ("noise", noise)], validation: "siSDRGain"
    ) { recipe, initial, folder, progress in
      try EnhanceTraining.run(
        recipe, speech: speech, noise: noise, initial: initial, folder: folder, progress: progress)
    }
  }
}

extension EnhanceTrainingConfiguration: TrainingRecipe {}
