import ArgumentParser
import Braid
import BraidFiles
import Foundation

/// braid lm
struct LanguageModelCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "lm", abstract: "Run hybrid language models as published.",
    subcommands: [LogitsCommand.self, GenerateTokensCommand.self, BenchLanguageModelCommand.self])
}

/// braid lm logits
struct LogitsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "logits",
    abstract: "Write the logits of the next token after every token of a text.",
    discussion: """
      The text is token ids separated by white space; the output is NumPy's format, float32, tokens x vocabulary.

      Example: braid lm logits --model Bamba-9B-v2 --tokens ids.txt -o logits.npy
      """)

  @OptionGroup var model: LanguageModelOptions
  @Option(help: ArgumentHelp("The text's token ids; - is standard input.", valueName: "FILE"))
  var tokens: String
  @Option(name: [.short, .long], help: ArgumentHelp("The array file to write.", valueName: "OUT.npy"))
  var output: String
  @OptionGroup var device: DeviceOptions
  @OptionGroup var report: ReportOptions

  mutating func run() async throws {
    let console = Console(report)
    Interruption.handle(advice: "nothing was written")
    try await reporting(console) {
      _ = try device.apply()
      let ids = try TokenFile.read(tokens)
      let model = try model.load()
      try model.validate(ids)
      let shape = [ids.count, model.configuration.vocabulary]
      let file = try NPYWriter(output, shape: shape)
      var state = model.initialState(batch: 1)
      let start = ContinuousClock.now
      var done = 0
      try model.logits(of: ids, state: &state) { piece in
        try piece.read {
          try file.write(UnsafeBufferPointer(start: $0, count: piece.elementCount))
        }
        done += piece.shape[0]
        let part = Double(done) / Double(ids.count)
        let elapsed = start.duration(to: .now) / .seconds(1)
        console.progress(
          "logits", part, secondsLeft: elapsed / max(part, 1e-9) * (1 - part),
          fields: [("tokens", .integer(done))])
      }
      try file.commit()
      if console.isJSON {
        console.result(
          output,
          [
            ("output", .string(output)), ("tokens", .integer(shape[0])), ("vocabulary", .integer(shape[1])),
          ])
      }
    }
  }
}

/// braid lm generate
struct GenerateTokensCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "generate",
    abstract: "Go on with a text.",
    discussion: """
      Writes N new token ids to standard output, one a line, each as soon as it is known. With --state-out what the \
      model remembers is written to a file; with --state-in a text goes on from there, in another process or on \
      another machine, exactly as it would have gone on without the interruption. --tokens then adds to the text.

      Examples:
        braid lm generate --model LFM2-1.2B --tokens prompt.txt --count 64 --temperature 0.7 --top-p 0.9 --seed 1
        braid lm generate --model LFM2-1.2B --tokens prompt.txt --count 10 --state-out half.safetensors
        braid lm generate --model LFM2-1.2B --state-in half.safetensors --count 10
      """)

  @OptionGroup var model: LanguageModelOptions
  @Option(help: ArgumentHelp("The text's token ids; - is standard input.", valueName: "FILE"))
  var tokens: String?
  @Option(help: ArgumentHelp("New ids.", valueName: "N")) var count: Int
  @Flag(help: "Stop after an id that ends a text.") var stopAtEos = false
  @OptionGroup var sampling: SamplingOptions
  @Option(
    help: ArgumentHelp("Go on from a saved state.", valueName: "FILE"),
    completion: .file(extensions: ["safetensors"]))
  var stateIn: String?
  @Option(
    help: ArgumentHelp("Save the state at the end.", valueName: "FILE"),
    completion: .file(extensions: ["safetensors"]))
  var stateOut: String?
  @OptionGroup var device: DeviceOptions

  func validate() throws {
    if count < 0 { throw ValidationError("--count must be 0 or more.") }
    if tokens == nil && stateIn == nil {
      throw ValidationError("--tokens FILE is missing (or --state-in FILE, to go on from).")
    }
  }

  mutating func run() async throws {
    let console = Console()
    Interruption.handle(advice: "no state was written")
    try await reporting(console) {
      _ = try device.apply()
      let ids = try tokens.map { try TokenFile.read($0) } ?? []
      let sampler = try sampling.sampler()
      let model = try model.load()
      var state = model.initialState(batch: 1)
      if let stateIn { state = try MixerState(contentsOf: stateIn, like: state) }
      try model.generate(
        after: ids, count: count, state: &state, sampler: sampler, stopsAtEnd: stopAtEos
      ) { token in
        // A reader that went away wants no more.
        (try? FileHandle.standardOutput.write(contentsOf: Data("\(token)\n".utf8))) != nil
      }
      if let stateOut { try state.save(to: stateOut) }
    }
  }
}
