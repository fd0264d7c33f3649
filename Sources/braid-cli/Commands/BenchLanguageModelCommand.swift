import ArgumentParser
import Braid
import Foundation

/// braid lm bench
struct BenchLanguageModelCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Time a language model: taking a text in, and decoding.",
    discussion: """
      The text is random ids. With --layout a model of random weights is made in memory: \
      \(SyntheticLayout.allCases.map(\.rawValue).joined(separator: ", ")). With --interactive one measurement is made \
      for each line of standard input, "prefill" or "decode", so that another program can be measured in turn.

      Example: braid lm bench --layout bamba-326m --weights-format bf16 --prefill 4096 --decode 32
      """)

  @OptionGroup var model: LanguageModelOptions
  @Option(help: ArgumentHelp("A model of random weights instead of --model.", valueName: "NAME"))
  var layout: SyntheticLayout?
  @Option(help: ArgumentHelp("Tokens of the text.", valueName: "N")) var prefill = 1024
  @Option(help: ArgumentHelp("Tokens to decode after it.", valueName: "N")) var decode = 32
  @Option(help: ArgumentHelp("Measurements, the median of which counts.", valueName: "N")) var runs = 1
  @Flag(help: "Measure once for each line of standard input.") var interactive = false
  @Flag(help: "Print the time of each operation too.") var operations = false
  @OptionGroup var device: DeviceOptions
  @OptionGroup var report: ReportOptions

  func validate() throws {
    guard (1...1 << 24).contains(prefill), (0...1 << 20).contains(decode), (1...1000).contains(runs) else {
      throw ValidationError("--prefill must be 1 or more, --decode 0 or more, --runs 1 to 1000.")
    }
    if layout != nil && model.model != nil { throw ValidationError("Give --model or --layout.") }
  }

  mutating func run() async throws {
    let console = Console(report)
    try await reporting(console) {
      _ = try device.apply()
      let loaded = try layout.map { try $0.model(storedAs: model.weightsFormat) } ?? model.load()
      let clock = LanguageModelClock(loaded, textLength: prefill, decodedTokens: decode)
      if interactive {
        print("ready")
        fflush(nil)
        while let line = readLine() {
          print("run \(try line == "decode" ? clock.decode() : clock.prefill())")
          fflush(nil)
        }
        return
      }
      Memory.resetPeak()
      if operations { OperationClock.start() }
      var (prefills, decodes): ([Double], [Double]) = ([], [])
      for _ in 0..<runs {
        prefills.append(try clock.prefill())
        if decode > 0 { decodes.append(try clock.decode()) }
      }
      let entries = operations ? OperationClock.stop() : []
      let seconds = median(prefills)
      let each = decodes.isEmpty ? nil : median(decodes) / Double(decode)
      var text =
        "prefill \(prefill) tokens: \(figure(seconds)) s, \(figure(Double(prefill) / seconds)) tokens/s"
      if let each { text += "\ndecode: \(figure(each * 1000)) ms/token, \(figure(1 / each)) tokens/s" }
      text += "\nparameters: \(loaded.store.parameterCount), held in \(loaded.weightBytes >> 20) MiB"
      text += "\npeak memory: \(ProcessMemory.peakBytes >> 20) MiB"
      for entry in entries {
        text += "\noperation \(entry.name): \(figure(entry.seconds)) s, \(entry.calls) calls"
      }
      console.result(
        text,
        [
          ("parameters", .integer(loaded.store.parameterCount)),
          ("weight_bytes", .integer(loaded.weightBytes)),
          ("weights_format", .string(model.weightsFormat.rawValue)), ("prefill_tokens", .integer(prefill)),
          ("prefill_seconds", .number(seconds)), ("decode_tokens", .integer(decode)),
          ("decode_seconds_per_token", each.map { .number($0) } ?? .null),
        ])
    }
  }

  private func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

  /// Four significant digits.
  private func figure(_ value: Double) -> String { String(format: "%.4g", value) }
}

extension SyntheticLayout: ExpressibleByArgument {}

/// Times a language model on random ids.
final class LanguageModelClock {
  private let model: HybridLM
  private let text: [Int]
  private let decodedTokens: Int
  private var state: MixerState?

  init(_ model: HybridLM, textLength: Int, decodedTokens: Int) {
    self.model = model
    self.decodedTokens = decodedTokens
    var generator = Philox(seed: 1)
    text = (0..<textLength).map { _ in generator.integer(model.configuration.vocabulary) }
  }

  /// Seconds to take the text in from an empty state.
  func prefill() throws -> Double {
    var state = model.initialState(batch: 1)
    let start = ContinuousClock.now
    _ = try model.prefill(text, state: &state)
    let seconds = start.duration(to: .now) / .seconds(1)
    self.state = state
    return seconds
  }

  /// Seconds to decode after the text.
  func decode() throws -> Double {
    if state == nil { _ = try prefill() }
    // The state stays as it was after the text.
    var copy = state!.mapped { $1.duplicated() }
    _ = try model.generate(after: [1], count: 2, state: &copy)
    let start = ContinuousClock.now
    try model.generate(after: [], count: decodedTokens, state: &copy)
    return start.duration(to: .now) / .seconds(1)
  }
}
