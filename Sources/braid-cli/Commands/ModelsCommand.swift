import ArgumentParser
import Braid
import Foundation

/// braid models
struct ModelsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "models",
    abstract: "List, add and check models.",
    discussion: """
      A model is looked for in the folder BRAID_MODELS, then in the user's data folder, then within the binary. \
      Published checkpoints (.pth, .safetensors) are used as they are.

      Examples:
        braid models list
        braid models path
        braid models verify
      """,
    subcommands: [
      ModelsListCommand.self, ModelsAddCommand.self, ModelsPathCommand.self, ModelsVerifyCommand.self,
      ModelsInspectCommand.self,
    ])
}

/// braid models list
struct ModelsListCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "List the models that can be named, and whether their weights are here.")

  @OptionGroup var report: ReportOptions

  mutating func run() async throws {
    let console = Console(report)
    try await reporting(console) {
      let store = ModelStore.standard
      let items = store.list()
      var rows: [[String]] = []
      func add(_ name: String, _ task: String, _ scale: String, _ weights: String, _ summary: String) {
        rows.append([name, task, scale, weights, summary])
        if console.isJSON {
          console.result(
            "",
            [
              ("name", .string(name)), ("task", .string(task)),
              ("scale", Int(scale).map { .integer($0) } ?? .null),
              ("weights", .string(weights)), ("summary", .string(summary)),
            ])
        }
      }
      for entry in ModelCatalogue.entries {
        let weights =
          entry.needsWeights
          ? items.first { $0.name == entry.name }.map(Self.place)
            ?? (entry.publishedFile == nil ? "-" : "not added")
          : "none needed"
        add(
          entry.name, entry.task.rawValue, entry.task == .enhance ? "-" : String(entry.scale), weights,
          entry.summary)
      }
      for item in items where ModelCatalogue.entry(item.name) == nil {
        add(item.name, "-", "-", Self.place(item), "added")
      }
      guard !console.isJSON else { return }
      let titles = ["name", "task", "scale", "weights", "what for"]
      let widths = (0..<4).map { column in ([titles] + rows).map { $0[column].count }.max()! }
      for row in [titles] + rows {
        let cells = row.enumerated().map { index, cell in
          let cell = cell.escapedForTerminal
          return index < 4 ? cell + String(repeating: " ", count: max(0, widths[index] - cell.count)) : cell
        }
        console.result(cells.joined(separator: "  "), [])
      }
    }
  }

  private static func place(_ item: ModelStore.Item) -> String {
    if case .file(let path) = item.place { path } else { "shipped" }
  }
}

/// braid models add
struct ModelsAddCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "add", abstract: "Keep a checkpoint under a name, as it is.",
    discussion: "Example: braid models add HAT_SRx4.pth --name hat-x4")

  @Argument(help: "A checkpoint (.safetensors, .pth).", completion: .file())
  var file: String

  @Option(help: "The name to give it; a name of the catalogue gives that model its weights.")
  var name: String

  @Flag(help: "Replace a model of that name.")
  var overwrite = false

  @OptionGroup var report: ReportOptions

  mutating func run() async throws {
    let console = Console(report)
    try await reporting(console) {
      // What a name of the catalogue promises is checked before the file takes it.
      if let entry = ModelCatalogue.entry(name) {
        guard entry.needsWeights else { throw Failure.usage("\(name) needs no weights") }
        if entry.task == .enhance {
          // Its own description counts, where it has one.
          let described = try ModelDescription(Checkpoint.open(file)) != nil
          _ = try EnhancementModelRequest(
            model: described ? file : name, weights: described ? nil : file
          ).load()
        } else if entry.configuration != nil {
          _ = try RestorationModelRequest(model: name, weights: file).load()
        }
      }
      let path = try ModelStore.standard.add(file, name: name, overwrite: overwrite)
      console.result(
        "\(name) -> \(path.escapedForTerminal)", [("name", .string(name)), ("path", .string(path))])
    }
  }
}

/// braid models path
struct ModelsPathCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "path", abstract: "Print where models are looked for, or where one stands.")

  @Argument(help: "A model's name.")
  var name: String?

  @OptionGroup var report: ReportOptions

  mutating func run() async throws {
    let console = Console(report)
    try await reporting(console) {
      let store = ModelStore.standard
      let paths: [String]
      if let name {
        guard let place = store.place(name) else {
          if ModelCatalogue.entry(name)?.task == .enhance {
            _ = try EnhancementModelRequest(model: name).load(from: store)
          }
          _ = try RestorationModelRequest(model: name).load(from: store)
          throw Failure.usage("\(name) needs no weights")
        }
        paths = [place.path]
      } else {
        paths = store.folders + ["(within the binary) \(store.embedded.count) models"]
      }
      for path in paths { console.result(path.escapedForTerminal, [("path", .string(path))]) }
    }
  }
}

/// braid models verify
struct ModelsVerifyCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify", abstract: "Check models: digest, structure, finite numbers.")

  @Argument(help: "Names (default: all models that are here).")
  var names: [String] = []

  @OptionGroup var report: ReportOptions

  mutating func run() async throws {
    let console = Console(report)
    try await reporting(console) {
      let store = ModelStore.standard
      let all = names.isEmpty ? store.list().map(\.name) : names
      var failed = 0
      for name in all {
        do {
          let found = try store.verify(name)
          let digest = String(found.sha256.prefix(12))
          console.result(
            "\(name.escapedForTerminal)  ok  \(found.tensorCount) tensors, \(found.elementCount) numbers, sha256 \(digest)…"
              + (found.isRecorded ? " as recorded" : ""),
            [
              ("name", .string(name)), ("path", .string(found.path)), ("sha256", .string(found.sha256)),
              ("recorded", .bool(found.isRecorded)), ("tensors", .integer(found.tensorCount)),
              ("numbers", .integer(found.elementCount)),
            ])
        } catch {
          let failure = Failure(error)
          console.error(failure, file: name)
          if all.count == 1 { throw ExitCode(failure.exitCode) }
          failed += 1
        }
      }
      if all.isEmpty { console.note("no models to check: none ships with this build and none was added") }
      if failed > 0 { throw ExitCode(Exit.someFailed) }
    }
  }
}

/// braid models inspect
struct ModelsInspectCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect", abstract: "Show what is in a checkpoint; nothing in it is executed.")

  @Argument(help: "A file, a folder, or a model's name.", completion: .file())
  var file: String

  @Option(help: ArgumentHelp("The set of tensors to show, where there are several.", valueName: "KEY"))
  var weightsKey: String?

  @OptionGroup var report: ReportOptions

  mutating func run() async throws {
    let console = Console(report)
    try await reporting(console) {
      let options = CheckpointOptions(weightsKey: weightsKey)
      let store = ModelStore.standard
      let checkpoint =
        store.place(file) == nil || FileIdentity(file) != nil
        ? try Checkpoint.open(file, options: options) : try store.open(file, options: options)
      let content = CheckpointReport(checkpoint)
      let text = content.text.hasSuffix("\n") ? String(content.text.dropLast()) : content.text
      console.result(text, [("checkpoint", content.json)])
    }
  }
}
