import BraidCheckpoint
import BraidMixers
import BraidNN
import BraidTensor
import BraidTestSupport
import Foundation
import Testing

/// The mixers of decaying states against their published implementations.
@Suite struct DecayMixerTests {
  /// Expects the mixer with the fixture's weights to give its output, in the fast form and step by step.
  private func expectPublished<Mixer: CausalMixer>(
    _ name: String, _ type: Mixer.Type, _ configuration: Mixer.Configuration,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let url = try #require(
      Bundle.module.url(forResource: "decay_mixers", withExtension: "safetensors", subdirectory: "Fixtures"))
    let file = try Checkpoint.open(url.path)
    let store = ParameterStore()
    let mixer = try Mixer(store.root, configuration)
    let prefix = "\(name).weights."
    #expect(
      Set(store.parameters.map { prefix + $0.key }) == Set(file.keys.filter { $0.hasPrefix(prefix) }),
      sourceLocation: sourceLocation)
    for parameter in store.parameters { parameter.assign(try file.tensor(prefix + parameter.key)) }
    let (x, expected) = (try file.tensor("\(name).input"), try file.tensor("\(name).output"))
    var state = mixer.initialState(batch: 1)
    let errors = [mixer(x), mixer.inSteps(x, state: &state)].map { relativeError($0, expected) }
    #expect(errors.allSatisfy { $0 < 2e-6 }, "\(name): \(errors)", sourceLocation: sourceLocation)
  }

  @Test func mamba2Layers() throws {
    try expectPublished("mamba2", Mamba2.self, .init(channels: 12, heads: 4, headSize: 6, stateSize: 5))
    try expectPublished(
      "bamba", Mamba2.self,
      .init(
        channels: 12, heads: 4, headSize: 6, stateSize: 5, groups: 2, bias: true, leastStep: 0.1,
        greatestStep: 0.3, normEpsilon: 1e-6))
    try expectPublished(
      "nemotron_h", Mamba2.self,
      .init(channels: 12, heads: 4, headSize: 6, stateSize: 5, groups: 2, leastStep: 0.12))
    try expectPublished(
      "zamba2", Mamba2.self,
      .init(channels: 12, heads: 4, headSize: 6, stateSize: 5, bias: true, leastStep: 0.12))
    let falcon = Mamba2.Configuration(
      channels: 12, heads: 4, headSize: 6, stateSize: 5, groups: 2, normalization: .none,
      inputMultiplier: 0.6,
      multipliers: [0.7, 1.3, 0.4, 1.1, 0.9])
    try expectPublished("falcon_h1", Mamba2.self, falcon)
    var normed = falcon
    normed.normalization = .beforeGate
    try expectPublished("falcon_h1_norm", Mamba2.self, normed)
  }

  @Test func lightningAttention() throws {
    try expectPublished(
      "minimax", LightningAttention.self, .init(channels: 12, heads: 3, headSize: 6, layer: 2, layerCount: 4))
  }

  @Test func retention() throws {
    try expectPublished(
      "retnet", RetNet.self,
      .init(
        layout: .init(channels: 12, heads: 4, keyWidth: 6, valueWidth: 6), rotary: .init(dimensions: 6)))
  }

  @Test func gatedLinearAttentions() throws {
    try expectPublished(
      "simple_gla", SimpleGatedLinearAttention.self,
      .init(layout: .init(channels: 12, heads: 4, keyHeads: 2, keyWidth: 6, valueWidth: 5, kernelSize: 4)))
    try expectPublished(
      "gla", GatedLinearAttention.self,
      .init(
        layout: .init(channels: 12, heads: 4, keyHeads: 2, keyWidth: 6, valueWidth: 5), gateRank: 3,
        gateNormalizer: 0.5))
    try expectPublished("hgrn2", HGRN2.self, .init(channels: 12, heads: 2, keyWidth: 6, lowerBound: 0.3))
  }

  @Test func linearAttentions() throws {
    try expectPublished("based", Based.self, .init(channels: 12, heads: 2, featureSize: 4))
    try expectPublished(
      "linear_attn", LinearAttention.self,
      .init(
        layout: .init(
          channels: 12, heads: 4, keyHeads: 2, keyWidth: 6, valueWidth: 5, featureMap: .elu, isGated: false),
        normalizesWeights: true))
  }

  @Test func contradictionsAreErrors() throws {
    let store = ParameterStore()
    #expect(throws: MixerError.self) { try Mamba2(store.root, .init(channels: 8, heads: 3, groups: 2)) }
    #expect(throws: MixerError.self) {
      try Mamba2(store.root, .init(channels: 8, headSize: 4, multipliers: [1, 2]))
    }
    #expect(throws: MixerError.self) {
      try Mamba2(store.root, .init(channels: 8, headSize: 4, leastStep: 1, greatestStep: 0.5))
    }
    #expect(throws: MixerError.self) {
      try LightningAttention(store.root, .init(channels: 8, heads: 2, layer: 4, layerCount: 4))
    }
    #expect(throws: MixerError.self) {
      try GatedLinearAttention(store.root, .init(layout: .init(channels: 8, heads: 3, keyHeads: 2)))
    }
    #expect(throws: MixerError.self) {
      try RetNet(store.root, .init(layout: .init(channels: 9, heads: 3), rotary: .init(dimensions: 3)))
    }
    #expect(throws: MixerError.self) { try HGRN2(store.root, .init(channels: 8, heads: 3, lowerBound: 1)) }
  }
}
