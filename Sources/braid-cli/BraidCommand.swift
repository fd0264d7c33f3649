import ArgumentParser
import Braid

@main
struct BraidCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "braid", version: "0.1.0")
}
