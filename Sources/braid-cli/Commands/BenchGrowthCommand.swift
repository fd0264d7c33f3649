import ArgumentParser
import Braid
import BraidFiles
import Foundation

/// braid bench growth
struct BenchGrowthCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "growth",
    abstract: "Time per token and memory of every causal mixer as a stream goes on.",
    discussion: """
      A stream of random inputs goes through each mixer in pieces of 1024 tokens. Printed are the processor time per \
      token at several lengths, the last beside the first, the bytes of the state, and the peak memory. Mixers whose \
      state grows with the stream are listed, and measured to 16 k tokens only.

      Example: braid bench growth --plot growth.png
      """)

  @Option(help: ArgumentHelp("Tokens of the stream, in units of 1024.", valueName: "N")) var length = 256
  @Option(help: ArgumentHelp("Only this mixer.", valueName: "NAME")) var mixer: String?
  @Option(help: ArgumentHelp("Draw the curves into this PNG file.", valueName: "FILE"), completion: .file())
  var plot: String?
  @OptionGroup var device: DeviceOptions
  @OptionGroup var report: ReportOptions

  func validate() throws {
    guard (4...65536).contains(length) else { throw ValidationError("--length must be 4 to 65536.") }
  }

  mutating func run() async throws {
    let console = Console(report)
    try await reporting(console) {
      _ = try device.apply()
      let entries = try mixer.map { [try MixerRegistry.entry($0)] } ?? MixerRegistry.entries
      var growths: [StreamGrowth] = []
      if !console.isJSON { console.result(StreamGrowth.header(length), []) }
      for entry in entries {
        guard let type = entry.type as? any CausalMixer.Type else { continue }
        let growth = try StreamGrowth.measure(type, pieces: length)
        growths.append(growth)
        console.result(growth.row, growth.fields)
      }
      if let plot {
        let steady = growths.filter { !$0.stateGrows }
        // A legend holds a few names: the mixers take turns, four to a pair of panels.
        let groups = stride(from: 0, to: steady.count, by: 4).map { steady[$0..<min($0 + 4, steady.count)] }
        func panel(_ title: String, _ group: ArraySlice<StreamGrowth>, _ values: (StreamGrowth) -> [Double])
          -> CurvePlot.Panel
        {
          CurvePlot.Panel(
            title: title,
            series: group.map { growth in
              CurvePlot.Series(
                name: growth.name, x: growth.lengths.map { log2(Double($0)) }, y: values(growth))
            })
        }
        let picture = CurvePlot(
          panels: groups.flatMap { group in
            [
              panel("time/token", group) { growth in growth.seconds.map { $0 / growth.seconds[0] } },
              panel("peak MB", group) { growth in growth.peaks.map { Double($0) / 1e6 } },
            ]
          }, xLabel: "log2 of the tokens so far, time relative to that at 1 k", width: 1120, panelHeight: 240)
        let file = try AtomicFile(plot)
        try picture.png().withUnsafeBytes { try file.write($0) }
        try file.commit()
      }
    }
  }
}

/// How time per token and memory of a mixer go with the length of the stream.
struct StreamGrowth {
  let name: String
  /// Tokens so far at each measurement.
  let lengths: [Int]
  /// Processor seconds a token, all threads together, around each length.
  let seconds: [Double]
  /// Peak bytes up to each length.
  let peaks: [Int]
  let stateBytes: Int
  let stateGrows: Bool

  static let piece = 1024

  static func measure(_ type: any CausalMixer.Type, pieces: Int) throws -> StreamGrowth {
    try measureOpened(type, pieces)
  }

  private static func measureOpened<Mixer: CausalMixer>(_ type: Mixer.Type, _ pieces: Int) throws
    -> StreamGrowth
  {
    let store = ParameterStore()
    let mixer = try Mixer(store.root, Mixer.examples[0])
    store.initialize(seed: 1)
    store.freeze()
    var generator = Philox(seed: 2)
    let input = Tensor.normal([1, piece, mixer.channels], using: &generator)

    func once(_ state: inout MixerState) -> Double {
      let start = processorSeconds()
      withoutGradient { _ = mixer.prefill(input, state: &state) }
      return (processorSeconds() - start) / Double(piece)
    }
    // Warm, and the first piece measured several times: one piece is short.
    let first = (0..<9).map { _ in
      var state = mixer.initialState(batch: 1)
      return once(&state)
    }
    var state = mixer.initialState(batch: 1)
    Memory.releaseCache()
    Memory.resetPeak()
    let base = Memory.currentBytes
    var (lengths, seconds, peaks) = ([piece], [median(Array(first.dropFirst(2)))], [Int]())
    var window: [Double] = []
    var stateBytes: [Int: Int] = [:]
    var grows = false
    for index in 1...pieces {
      window.append(once(&state))
      if index == 1 { peaks.append(Memory.peakBytes - base) }
      guard index > 1, index & (index - 1) == 0 || index == pieces else { continue }
      stateBytes[index] = bytes(state)
      if index.trailingZeroBitCount % 2 == 0 || index == pieces {
        lengths.append(index * piece)
        seconds.append(median(Array(window.suffix(max(index / 2, min(index, 8))))))
        peaks.append(Memory.peakBytes - base)
      }
      if index == 16, let early = stateBytes[8], stateBytes[16]! > early + early / 2 {
        grows = true
        break
      }
    }
    return StreamGrowth(
      name: Mixer.name, lengths: lengths, seconds: seconds, peaks: peaks, stateBytes: bytes(state),
      stateGrows: grows)
  }

  private static func bytes(_ state: MixerState) -> Int {
    state.tensors.reduce(0) { $0 + $1.tensor.elementCount * $1.tensor.dtype.byteCount }
  }

  private static func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

  private static func processorSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }

  static func header(_ pieces: Int) -> String {
    "| mixer | ns a token at 1 k | at \(pieces) k | ratio | state bytes | peak bytes at 4 k | at \(pieces) k |\n"
      + "|-|-|-|-|-|-|-|"
  }

  var row: String {
    func nanoseconds(_ value: Double) -> String { String(format: "%.0f", value * 1e9) }
    let last =
      stateGrows ? "(state grows; measured to \(lengths.last! / 1024) k)" : nanoseconds(seconds.last!)
    let ratio = stateGrows ? "" : String(format: "%.2f", seconds.last! / seconds[0])
    let early = peaks.count > 1 ? peaks[1] : peaks[0]
    return
      "| \(name) | \(nanoseconds(seconds[0])) | \(last) | \(ratio) | \(stateBytes) | \(early) | \(peaks.last!) |"
  }

  var fields: [(String, JSONValue)] {
    [
      ("mixer", .string(name)), ("state_grows", .bool(stateGrows)), ("state_bytes", .integer(stateBytes)),
      ("tokens", .array(lengths.map { .integer($0) })),
      ("seconds_per_token", .array(seconds.map { .number($0) })),
      ("peak_bytes", .array(peaks.map { .integer($0) })),
    ]
  }
}
