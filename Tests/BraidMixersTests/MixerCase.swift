import BraidMixers
import BraidNN
import BraidTensor
import Foundation
import Testing

/// One example configuration of one registered mixer.
///
/// `BRAID_MIXER=name` in the environment limits the conformance tests to the mixers whose names contain it.
struct MixerCase: Sendable, CustomTestStringConvertible {
  let entry: MixerRegistry.Entry
  let json: Data

  var testDescription: String { "\(entry.name) \(String(decoding: json, as: UTF8.self))" }

  static let all: [MixerCase] = {
    let wanted = ProcessInfo.processInfo.environment["BRAID_MIXER"]
    return MixerRegistry.entries.filter { wanted == nil || $0.name.contains(wanted!) }
      .flatMap { entry in examples(of: entry.type).map { MixerCase(entry: entry, json: $0) } }
  }()
  static let causal = all.filter { $0.entry.type is any CausalMixer.Type }
  static let maps = all.filter { $0.entry.type is any MapMixer.Type }
  static let acausal = all.filter {
    !($0.entry.type is any CausalMixer.Type) && !($0.entry.type is any MapMixer.Type)
  }

  private static func examples<Mixer: SequenceMixer>(of type: Mixer.Type) -> [Data] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    return type.examples.map { try! encoder.encode($0) }
  }

  /// The mixer with parameters from a seed. Those that start as a constant are moved away from it and small ones are
  /// made larger, so that no term hides behind a zero, a one or the rest.
  func make(seed: UInt64 = 1) throws -> (mixer: any SequenceMixer, store: ParameterStore) {
    let store = ParameterStore()
    let mixer = try entry.make(store.root, json)
    store.initialize(seed: seed)
    var generator = Philox(seed: seed &+ 100)
    for parameter in store.parameters {
      let values = parameter.value.floats
      if values.allSatisfy({ $0 == values[0] }) {
        let noise = Tensor.normal(parameter.shape, standardDeviation: 0.2, using: &generator)
        parameter.assign(parameter.value + noise)
        continue
      }
      let size = (values.reduce(0) { $0 + $1 * $1 } / Float(values.count)).squareRoot()
      if size < 0.1 { parameter.assign(parameter.value * (0.3 / size)) }
    }
    return (mixer, store)
  }

  func makeCausal(seed: UInt64 = 1) throws -> (mixer: any CausalMixer, store: ParameterStore) {
    let (mixer, store) = try make(seed: seed)
    return (try #require(mixer as? any CausalMixer), store)
  }

  /// Random inputs [batch, positions..., channels].
  static func inputs(_ batch: Int, _ positions: [Int], _ channels: Int, seed: UInt64 = 3) -> Tensor {
    var generator = Philox(seed: seed)
    return Tensor.normal(Shape([batch] + positions + [channels]), using: &generator)
  }

  /// Expects an error of at most `limit`, and says whose it is elsewhere.
  func expect(
    _ error: Double, atMost limit: Double, _ what: String, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    ErrorTable.note(entry.name, what, error)
    #expect(
      error <= limit, "\(testDescription): \(what): \(error), allowed \(limit)",
      sourceLocation: sourceLocation)
  }
}

extension CausalMixer {
  /// The outputs for x in pieces of the given lengths, the last one again and again.
  func inPieces(_ x: Tensor, _ lengths: [Int], state: inout MixerState) -> Tensor {
    var outputs: [Tensor] = []
    var start = 0
    while start < x.shape[1] {
      let length = Swift.min(lengths[Swift.min(outputs.count, lengths.count - 1)], x.shape[1] - start)
      outputs.append(prefill(x.sliced(axis: 1, start..<start + length), state: &state))
      start += length
    }
    return Tensor.concatenated(outputs, axis: 1)
  }

  /// The outputs for x position by position.
  func inSteps(_ x: Tensor, state: inout MixerState) -> Tensor {
    Tensor.concatenated(
      (0..<x.shape[1]).map { step(x.sliced(axis: 1, $0..<$0 + 1), state: &state) }, axis: 1)
  }
}
