import ArgumentParser
import Braid
import Foundation

/// braid bench mixers
struct BenchMixersCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mixers",
    abstract: "Time the operations of the sequence mixers, forward and backward.",
    discussion: """
      Prints for each operation the best and the median time of its runs, the time of the gradient and what share of \
      a floor that is: for scans, one exponential a state element; for the others, a large matrix product. With \
      --interactive it runs one pass for each line `ROW forward` or `ROW backward` of standard input and answers with \
      its seconds, so that another program can be measured in turn.

      Example: braid bench mixers --rows selective-scan,delta-rule
      """)

  @Option(help: "Names of operations, separated by commas; all where not given.") var rows: String?
  @Option(help: "Runs of each, after one that is not counted.") var runs = 5
  @Flag(help: "Run what each line of standard input names.") var interactive = false
  @OptionGroup var device: DeviceOptions
  @OptionGroup var report: ReportOptions

  func validate() throws {
    guard (1...1000).contains(runs) else { throw ValidationError("--runs must be 1 to 1000.") }
    let known = Set(MixerOperation.all.map(\.name))
    if let unknown = names.first(where: { !known.contains($0) }) {
      throw ValidationError(
        "--rows: no operation \(unknown); there are \(known.sorted().joined(separator: ", ")).")
    }
  }

  private var names: [String] { rows.map { $0.split(separator: ",").map(String.init) } ?? [] }

  mutating func run() async throws {
    let console = Console(report)
    try await reporting(console) {
      _ = try device.apply()
      let chosen = MixerOperation.all.filter { names.isEmpty || names.contains($0.name) }
      let floors = MachineFloors()
      if interactive { return serve(chosen, floors) }
      console.result(
        "exponential \(nanoseconds(floors.exponential)) ns; large product \(gigaflops(floors.product)) GFLOP/s",
        [
          ("row", .string("floors")), ("exponential_seconds", .number(floors.exponential)),
          ("product_flops", .number(floors.product)),
        ])
      for operation in chosen {
        let passes = operation.prepared()
        let forward = times(passes.forward), backward = times(passes.backward)
        let best = forward.first!, gradient = backward.first!
        console.result(
          "\(operation.name) \(operation.shape): \(operation.figure(best, floors)); "
            + "median \(milliseconds(forward[runs / 2])) ms; backward \(milliseconds(gradient)) ms, "
            + "\(rounded(gradient / best, 2)) times forward",
          [
            ("row", .string(operation.name)), ("shape", .string(operation.shape)),
            ("work", .number(operation.work)), ("unit", .string(operation.unit.rawValue)),
            ("forward_seconds", .number(best)), ("forward_median_seconds", .number(forward[runs / 2])),
            ("backward_seconds", .number(gradient)), ("backward_median_seconds", .number(backward[runs / 2])),
            ("floor_share", .number(operation.floorSeconds(floors) / best)),
          ])
      }
    }
  }

  /// Seconds of the runs, rising.
  private func times(_ pass: () -> Double) -> [Double] {
    _ = pass()
    return (0..<runs).map { _ in pass() }.sorted()
  }

  private func serve(_ operations: [MixerOperation], _ floors: MachineFloors) {
    func say(_ text: String) {
      print(text)
      fflush(nil)
    }
    var prepared: [String: MixerOperation.Passes] = [:]
    say("exponential-seconds \(floors.exponential)")
    say("product-flops \(floors.product)")
    for operation in operations {
      say("work \(operation.name) \(operation.work) \(operation.unit.rawValue)")
      let passes = operation.prepared()
      // Neither pass is measured while it takes its memory from the system.
      _ = passes.forward()
      _ = passes.backward()
      prepared[operation.name] = passes
    }
    say("ready")
    while let line = readLine() {
      let words = line.split(separator: " ")
      guard words.count == 2, let passes = prepared[String(words[0])] else {
        say("error: not a known row and pass: \(line)")
        continue
      }
      say("run \(words[1] == "backward" ? passes.backward() : passes.forward())")
    }
  }
}

/// What the machine does at best: the floors that operations are compared with.
struct MachineFloors {
  /// Seconds of one exponential on all threads, arguments and results in the cache.
  let exponential: Double
  /// Floating-point operations a second of a large product.
  let product: Double

  init() {
    exponential = Processor.exponentialSeconds() / Double(ThreadPool.threads)
    var generator = Philox(seed: 2)
    let x = Tensor.normal([4096, 512], using: &generator)
    let weight = Tensor.normal([512, 512], using: &generator)
    weight.storage.isConstant = true
    let best = (0..<10).map { _ in MixerOperation.seconds { _ = linear(x, weight) } }.min()!
    product = 2 * 4096 * 512 * 512 / best
  }
}

/// One operation on fixed shapes.
struct MixerOperation: Sendable {
  enum Unit: String, Sendable {
    /// Work is state elements: steps x channels x states.
    case stateElements = "state-elements"
    /// Work is multiplications and additions of the operation as defined, whatever form computes it.
    case flops
  }
  /// One measured run each; the result is its seconds.
  struct Passes {
    var forward: () -> Double
    var backward: () -> Double
  }

  let name: String
  let shape: String
  let work: Double
  let unit: Unit
  /// The operation's inputs, and its output from them.
  let make: @Sendable (inout Philox) -> (inputs: [Tensor], run: ([Tensor]) -> Tensor)

  func floorSeconds(_ floors: MachineFloors) -> Double {
    unit == .flops ? work / floors.product : work * floors.exponential
  }

  func figure(_ seconds: Double, _ floors: MachineFloors) -> String {
    let share = "\(rounded(100 * floorSeconds(floors) / seconds, 0)) %"
    switch unit {
    case .stateElements:
      return "\(nanoseconds(seconds / work)) ns a state element (\(share) of it one exponential)"
    case .flops:
      return "\(gigaflops(work / seconds)) GFLOP/s (\(share) of a large product's)"
    }
  }

  func prepared() -> Passes {
    var generator = Philox(seed: 7)
    let (inputs, run) = make(&generator)
    return Passes(
      forward: { Self.seconds { withoutGradient { _ = run(inputs) } } },
      backward: {
        let leaves = inputs.map { $0.requiringGradient() }
        let output = run(leaves)
        let seed = Tensor.full(output.shape, 1)
        return Self.seconds { _ = output.gradients(for: leaves, seed: seed) }
      })
  }

  static func seconds(_ body: () -> Void) -> Double {
    let start = ContinuousClock.now
    body()
    return start.duration(to: .now) / .seconds(1)
  }

  // MARK: Rows

  static let all: [MixerOperation] = [
    scan("selective-scan", length: 4096, channels: 1536, states: 16),
    scan("selective-scan-narrow", length: 4096, channels: 128, states: 16),
    scan("selective-scan-long", length: 65536, channels: 128, states: 16),
    linear("ssd", heads: 24, groups: 1, keys: 128, values: 64, decay: .perHead),
    linear("gla", heads: 8, keys: 128, values: 128, decay: .perKey),
    linear("gla-64", heads: 16, keys: 64, values: 64, decay: .perKey),
    linear("retnet", heads: 8, keys: 128, values: 256, decay: .fixed),
    linear("lightning", heads: 8, keys: 128, values: 128, decay: .fixed),
    delta("delta-rule", decay: nil),
    delta("gated-delta-rule", decay: 1),
    delta("kimi-delta-rule", decay: 128),
  ]

  /// Steps after softplus, no gate.
  private static func scan(_ name: String, length: Int, channels: Int, states: Int) -> MixerOperation {
    MixerOperation(
      name: name, shape: "L \(length), D \(channels), N \(states)", work: Double(length * channels * states),
      unit: .stateElements
    ) { generator in
      let inputs = [
        Tensor.normal([1, length, channels], using: &generator),
        Tensor.uniform([1, length, channels], using: &generator) * 0.1 + 0.001,
        Tensor.uniform([channels, states], using: &generator) * -8 - 0.5,
        Tensor.normal([1, length, states], using: &generator),
        Tensor.normal([1, length, states], using: &generator),
      ]
      return (
        inputs,
        {
          selectiveScan($0[0], steps: $0[1], decay: $0[2], inputs: $0[3], outputs: $0[4], softplus: false)
            .output
        }
      )
    }
  }

  private enum Decay: Sendable { case fixed, perHead, perKey }

  /// Linear attention with decay. Work counts the update, q S and the decay of each step.
  private static func linear(
    _ name: String, heads: Int, groups: Int? = nil, keys: Int, values: Int, decay: Decay
  ) -> MixerOperation {
    let length = 4096
    return MixerOperation(
      name: name, shape: "L \(length), H \(heads), K \(keys), V \(values)",
      work: Double(length * heads * keys * values * 5), unit: .flops
    ) { generator in
      func normal(_ heads: Int, _ width: Int) -> Tensor {
        Tensor.normal([1, length, heads, width], using: &generator)
      }
      let q = normal(groups ?? heads, keys), k = normal(groups ?? heads, keys), v = normal(heads, values)
      let scale = Float(1 / Double(keys).squareRoot())
      switch decay {
      case .perKey:
        let decays = Tensor.uniform(q.shape, using: &generator) * -0.1
        return (
          [q, k, v, decays],
          { gatedLinearAttention($0[0], $0[1], $0[2], logDecay: $0[3], scale: scale).output }
        )
      case .perHead:
        let decays = Tensor.uniform([1, length, heads], using: &generator) * -0.1
        return (
          [q, k, v, decays],
          { decayedLinearAttention($0[0], $0[1], $0[2], logDecay: $0[3], scale: scale).output }
        )
      case .fixed:
        let decays = Tensor((0..<heads).map { Float(log1p(-pow(2, -5 - Double($0)))) })
        return (
          [q, k, v],
          { decayedLinearAttention($0[0], $0[1], $0[2], logDecay: decays, scale: scale).output }
        )
      }
    }
  }

  /// Work counts k S, the update, q S and the decay of each step.
  private static func delta(_ name: String, decay: Int?) -> MixerOperation {
    let (length, heads, width) = (4096, 8, 128)
    return MixerOperation(
      name: name, shape: "L \(length), H \(heads), K \(width), V \(width)",
      work: Double(length * heads * width * width * (decay == nil ? 6 : 7)), unit: .flops
    ) { generator in
      func normal() -> Tensor { Tensor.normal([1, length, heads, width], using: &generator) }
      let q = normal(), k = normal() * Float(1 / Double(width).squareRoot()), v = normal()
      let beta = Tensor.uniform([1, length, heads], using: &generator)
      let decays = decay.map {
        Tensor.uniform($0 == 1 ? [1, length, heads] : [1, length, heads, $0], using: &generator) * -0.1
      }
      return (
        [q, k, v, beta] + [decays].compactMap { $0 },
        { deltaRule($0[0], $0[1], $0[2], beta: $0[3], logDecay: $0.count > 4 ? $0[4] : nil).output }
      )
    }
  }
}

private func rounded(_ value: Double, _ places: Int) -> String { String(format: "%.\(places)f", value) }
private func nanoseconds(_ seconds: Double) -> String { rounded(seconds * 1e9, 4) }
private func milliseconds(_ seconds: Double) -> String { rounded(seconds * 1e3, 2) }
private func gigaflops(_ rate: Double) -> String { rounded(rate * 1e-9, 1) }
