import BraidCheckpoint
import BraidMixers
import BraidNN
import BraidTensor
import BraidTestSupport
import Foundation
import Testing

/// The mixers of the delta rule against their published implementations.
@Suite struct DeltaMixerTests {
  /// The error of the mixer with the fixture's weights, in the fast form and step by step.
  private func errors<Mixer: CausalMixer>(
    _ name: String, _ type: Mixer.Type, _ configuration: Mixer.Configuration
  ) throws -> [Double] {
    let url = try #require(
      Bundle.module.url(forResource: "delta_mixers", withExtension: "safetensors", subdirectory: "Fixtures"))
    let file = try Checkpoint.open(url.path)
    let store = ParameterStore()
    let mixer = try Mixer(store.root, configuration)
    let prefix = "\(name).weights."
    #expect(
      Set(store.parameters.map { prefix + $0.key }) == Set(file.keys.filter { $0.hasPrefix(prefix) }))
    for parameter in store.parameters { parameter.assign(try file.tensor(prefix + parameter.key)) }
    let (x, expected) = (try file.tensor("\(name).input"), try file.tensor("\(name).output"))
    var state = mixer.initialState(batch: 2)
    return [mixer(x), mixer.inSteps(x, state: &state)].map { relativeError($0, expected) }
  }

  @Test func gatedDeltaNetOfQwen() throws {
    let errors = try errors(
      "qwen3_next", GatedDeltaNet.self,
      .init(channels: 12, keyHeads: 2, valueHeads: 4, keyWidth: 6, valueWidth: 5, layout: .joined))
    #expect(errors.allSatisfy { $0 < 2e-6 }, "\(errors)")
  }

  @Test func gatedDeltaNetOfOlmo() throws {
    let errors = try errors(
      "olmo_hybrid", GatedDeltaNet.self,
      .init(
        channels: 12, keyHeads: 2, valueHeads: 4, keyWidth: 6, valueWidth: 5, layout: .separate,
        allowsNegativeEigenvalues: true, normEpsilon: 1e-5))
    #expect(errors.allSatisfy { $0 < 2e-6 }, "\(errors)")
  }

  @Test func kimiDeltaAttention() throws {
    let errors = try errors(
      "kimi_linear", KimiDeltaAttention.self, .init(channels: 12, heads: 2, headWidth: 6))
    #expect(errors.allSatisfy { $0 < 2e-6 }, "\(errors)")
  }

  @Test func deltaNet() throws {
    let errors = try errors(
      "deltanet", DeltaNet.self,
      .init(channels: 12, heads: 2, keyWidth: 6, valueWidth: 5, isGated: true))
    #expect(errors.allSatisfy { $0 < 2e-6 }, "\(errors)")
  }
}
