import ArgumentParser
import Braid

@main
struct BraidCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "braid",
    abstract:
      "Restores images, enhances speech and runs language models with hybrid sequence models, on a plain CPU.",
    version: BraidVersion.text,
    subcommands: [
      RestoreCommand.self, EnhanceCommand.self, EvaluateCommand.self, TrainCommand.self,
      LanguageModelCommand.self,
      BenchCommand.self, ModelsCommand.self, DoctorCommand.self,
    ])

  static func main() async {
    StandardStreams.open()
    MemoryRefusal.handle()
    await main(nil)
  }
}

extension ParsableArguments {
  /// Runs `body`; what it throws is told and becomes the exit code.
  func reporting(_ console: Console, _ body: () async throws -> Void) async throws {
    do {
      try EnvironmentDefault.checkModelsFolder()
      try await body()
      console.clear()
      try console.checkOutput()
    } catch let exit as ExitCode {
      console.clear()
      throw exit
    } catch {
      let failure = Failure(error)
      console.error(failure)
      throw ExitCode(failure.exitCode)
    }
  }
}
