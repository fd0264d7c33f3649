import ArgumentParser
import Braid
import Foundation

/// braid bench enhance
struct BenchEnhanceCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "enhance",
    abstract: "Time a speech enhancement model on random samples.",
    discussion: """
      Without --model and --weights, the published MambAttention with random weights. Prints, for each run, a line \
      `run <seconds>`; with --interactive one run for each line read from standard input, so that another program can \
      be measured in turn. At the end come the time per second of audio, the peak memory and, with --operations, the \
      time of each operation.

      Example: braid bench enhance --seconds 10 --runs 1 --threads 2
      """)

  @OptionGroup var model: ModelOptions
  @Option(help: ArgumentHelp("Length of the recording.", valueName: "N")) var seconds = 2.0
  @Option(help: "Runs, after one that is not counted.") var runs = 3
  @Flag(help: "Count the first run, where a run takes minutes.") var cold = false
  @Flag(help: "Run once for each line of standard input.") var interactive = false
  @Flag(help: "Print the time of each operation too.") var operations = false
  @OptionGroup var device: DeviceOptions
  @OptionGroup var report: ReportOptions

  func validate() throws {
    guard (0.1...3600).contains(seconds), (1...1000).contains(runs) else {
      throw ValidationError("--seconds must be 0.1 to 3600, --runs 1 to 1000.")
    }
  }

  mutating func run() async throws {
    let console = Console(report)
    try await reporting(console) {
      _ = try device.apply()
      let network = try loaded()
      let samples = Int(seconds * Double(network.sampleRate))
      var generator = Philox(seed: 1)
      let signal = Tensor.normal([1, samples], using: &generator) * 0.1
      func once() { withoutGradient { _ = network.enhanced(signal) } }
      if !cold { once() }
      if operations { OperationClock.start() }
      let times = TimedRuns.seconds(count: runs, interactive: interactive, once)
      let entries = operations ? OperationClock.stop() : []
      guard !times.isEmpty else { return }
      let median = times.sorted()[times.count / 2]
      var text = "median \(median)\nper-second-of-audio \(median / seconds)"
      text += "\npeak-bytes \(ProcessMemory.peakBytes)"
      text += TimedRuns.lines(entries, runs: times.count).map { "\n" + $0 }.joined()
      console.result(
        text,
        [
          ("parameters", .integer(network.parameters.parameterCount)), ("audio_seconds", .number(seconds)),
          ("seconds", .number(median)), ("seconds_per_second", .number(median / seconds)),
        ])
    }
  }

  private func loaded() throws -> any EnhancementModel {
    var request = try model.speechRequest(streams: false)
    if request.model == nil && request.weights == nil {
      let network = try MambAttention(MambAttention.Configuration())
      network.parameters.initialize(seed: 1)
      network.parameters.freeze()
      return network
    }
    if request.model == nil { request.model = MambAttention.architecture }
    return try request.load().model
  }
}
