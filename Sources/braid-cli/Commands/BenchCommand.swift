import ArgumentParser
import Braid
import Foundation

/// braid bench
struct BenchCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Measure speed and memory.",
    subcommands: [
      BenchRestoreCommand.self, BenchEnhanceCommand.self, BenchStreamCommand.self, BenchMixersCommand.self,
      BenchGrowthCommand.self,
    ])
}

/// braid bench restore
struct BenchRestoreCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restore",
    abstract: "Time a restoration model on one tile of random pixels.",
    discussion: """
      Prints, for each run, a line `run <seconds>`; with --interactive one run for each line read from standard input, \
      so that another program can be measured in turn. At the end come the peak memory, the time of each operation and \
      the rate of a large product on this machine.

      Example: braid bench restore --model contrast-s-denoise --height 321 --width 481
      """)

  @OptionGroup var model: ModelOptions
  @Option(help: "Rows of the tile.") var height = 64
  @Option(help: "Columns of the tile.") var width = 64
  @Option(help: "Runs, after one that is not counted.") var runs = 5
  @Flag(help: "Run once for each line of standard input.") var interactive = false
  @OptionGroup var device: DeviceOptions
  @OptionGroup var report: ReportOptions

  func validate() throws {
    guard (1...16384).contains(height), (1...16384).contains(width), (1...1000).contains(runs) else {
      throw ValidationError("--height and --width must be 1 to 16384, --runs 1 to 1000.")
    }
  }

  mutating func run() async throws {
    let console = Console(report)
    try await reporting(console) {
      _ = try device.apply()
      let loaded = try model.request(scale: nil).load()
      let unit = loaded.model.sizeMultiple
      var generator = Philox(seed: 1)
      let image = Tensor.uniform(
        [1, (height + unit - 1) / unit * unit, (width + unit - 1) / unit * unit, 3], using: &generator)
      func once() { withoutGradient { _ = loaded.model(image) } }
      once()
      Memory.resetPeak()
      OperationClock.start()
      let times = TimedRuns.seconds(count: runs, interactive: interactive, once)
      let entries = OperationClock.stop()
      guard !times.isEmpty else { return }
      TimedRuns.say("median \(times.sorted()[times.count / 2])")
      TimedRuns.say("tensor-peak-bytes \(Memory.peakBytes)")
      for line in TimedRuns.lines(entries, runs: times.count) { TimedRuns.say(line) }
      TimedRuns.say("product-flops \(productRate())")
    }
  }

  /// Floating-point operations a second of a large product, the best of several.
  private func productRate() -> Double {
    var generator = Philox(seed: 2)
    let x = Tensor.normal([4096, 512], using: &generator)
    let weight = Tensor.normal([512, 512], using: &generator)
    weight.storage.isConstant = true
    let best = (0..<8).map { _ in TimedRuns.seconds(of: { _ = linear(x, weight) }) }.min()!
    return 2 * 4096 * 512 * 512 / best
  }
}
