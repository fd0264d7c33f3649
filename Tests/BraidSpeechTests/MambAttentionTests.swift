import BraidCheckpoint
import BraidNN
import BraidSpeech
import BraidTensor
import BraidTestSupport
import Foundation
import Testing

@Suite struct MambAttentionTests {
  static let cases:
    [(name: String, configuration: MambAttention.Configuration, count: Int?, tolerance: Double)] = [
      ("mambattention_tiny", MambAttention.Configuration(channels: 16, blocks: 1), nil, 1e-5),
      ("mambattention", MambAttention.Configuration(), 2_325_841, 1e-4),
    ]

  @Test(arguments: cases.indices) func agreesWithReference(_ index: Int) throws {
    let (name, configuration, count, tolerance) = Self.cases[index]
    let folder = Bundle.module.url(forResource: "Fixtures/\(name)", withExtension: nil)!
    let fixture = try ReferenceFixture(folder)
    let store = ParameterStore()
    let model = try MambAttention(configuration, store: store)
    let weights = Dictionary(uniqueKeysWithValues: fixture.weights().map { ($0.key, $0.value) })
    #expect(Set(store.parameters.map(\.key)) == Set(weights.keys))
    for parameter in store.parameters { parameter.assign(try #require(weights[parameter.key])) }
    store.freeze()
    if let count { #expect(store.parameterCount == count) }
    let input = try fixture.data.tensor("input")
    let output = model.enhanced(input.reshaped(1, input.elementCount))
    let error = relativeError(output.reshaped(input.shape), try fixture.data.tensor("output"))
    #expect(error <= tolerance)
  }

  /// Names and shapes of the published modules, strictly; outputs of their definitions in float64.
  @Test(arguments: [
    ("semamba", MambAttention.Configuration(heads: 1, attention: .none)),
    (
      "xlstm_senet",
      MambAttention.Configuration(blocks: 8, heads: 1, expansion: 2, mixer: .mlstm, attention: .none)
    ),
  ])
  func siblingsLoadAsPublished(_ name: String, _ published: MambAttention.Configuration) throws {
    let url = Bundle.module.url(forResource: "Fixtures/\(name)", withExtension: "safetensors")!
    let fixture = try Checkpoint.open(url.path)
    var configuration = published
    (configuration.channels, configuration.blocks) = (8, 1)
    let model = try MambAttention(configuration)
    let keys = Set(fixture.keys.filter { !$0.hasPrefix("fixture.") })
    #expect(Set(model.parameters.parameters.map(\.key)) == keys)
    for parameter in model.parameters.parameters {
      let value = try fixture.tensor(parameter.key)
      #expect(value.shape == parameter.shape, "\(parameter.key)")
      parameter.assign(value)
    }
    model.parameters.freeze()
    let input = try fixture.tensor("fixture.input")
    let output = model.enhanced(input.reshaped(1, input.elementCount))
    let error = relativeError(output.reshaped(input.shape), try fixture.tensor("fixture.output"))
    print("\(name): \(error)")
    #expect(error < 1e-4)
    let full = try MambAttention(published)
    #expect(String(full.parameters.parameterCount) == fixture.metadata["published_parameters"])
  }

  @Test func silenceStaysSilent() throws {
    let store = ParameterStore()
    let model = try MambAttention(MambAttention.Configuration(channels: 8, blocks: 1, heads: 2), store: store)
    store.initialize(seed: 1)
    store.freeze()
    #expect(model.enhanced(.zeros([1, 1234])).floats == [Float](repeating: 0, count: 1234))
  }
}
