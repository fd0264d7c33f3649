import BraidNN
import BraidTensor
import BraidTestSupport
import Foundation
import Testing

@testable import BraidMixers

@Suite struct AttentionMixerTests {
  static func input(_ shape: Shape, seed: UInt64 = 3) -> Tensor {
    var generator = Philox(seed: seed)
    return .normal(shape, using: &generator)
  }

  /// The parts of `x` that a causal mixer is given one after the other, joined again.
  static func streamed<Mixer: CausalMixer>(_ mixer: Mixer, _ x: Tensor, _ lengths: [Int]) -> Tensor {
    var state = mixer.initialState(batch: x.shape[0])
    return Tensor.concatenated(
      x.split(lengths, axis: 1).map {
        $0.shape[1] == 1 ? mixer.step($0, state: &state) : mixer.prefill($0, state: &state)
      }, axis: 1)
  }

  static func checkForms<Mixer: CausalMixer>(_ type: Mixer.Type) throws {
    for configuration in Mixer.examples {
      let store = ParameterStore()
      let mixer = try Mixer(store.root, configuration)
      store.initialize(seed: 11)
      for length in [1, 63, 64, 65, 300] {
        let x = input([2, length, mixer.channels])
        let reference = mixer.reference(x)
        #expect(relativeError(mixer(x), reference) < 1e-5, "\(configuration) \(length)")
        let steps = streamed(mixer, x, Array(repeating: 1, count: length))
        #expect(relativeError(steps, reference) < 1e-5, "\(configuration) \(length)")
        if length > 60 {
          let parts = streamed(mixer, x, [7, 1, 33, length - 42, 1])
          #expect(relativeError(parts, reference) < 1e-5, "\(configuration) \(length)")
        }
      }
      let x = input([1, 9, mixer.channels])
      #expect(gradientError([x]) { mixer($0[0]) } < 1e-2, "\(configuration)")
    }
  }

  @Test func groupedQueryForms() throws { try Self.checkForms(GroupedQueryAttention.self) }
  @Test func latentForms() throws { try Self.checkForms(MultiHeadLatentAttention.self) }

  @Test func latentAbsorbedIsPlain() throws {
    for configuration in MultiHeadLatentAttention.examples {
      let store = ParameterStore()
      let mixer = try MultiHeadLatentAttention(store.root, configuration)
      store.initialize(seed: 5)
      let queries = Self.input([
        2, 9, configuration.heads, configuration.keyWidth + configuration.rotaryWidth,
      ])
      let latents = Self.input([2, 31, 1, configuration.latentWidth + configuration.rotaryWidth], seed: 8)
      #expect(
        relativeError(mixer.attendAbsorbed(queries, latents), mixer.attendPlain(queries, latents)) < 1e-6)
    }
  }

  @Test func configurationsThatContradictThemselvesThrow() {
    let bad: [AttentionHeads] = [
      AttentionHeads(channels: 8, heads: 3, keyHeads: 2),
      AttentionHeads(channels: 8, heads: 0),
      AttentionHeads(channels: 8, heads: 2, rotary: RotaryEmbedding(dimensions: 6)),
      AttentionHeads(channels: 8, heads: 2, rotary: RotaryEmbedding(dimensions: 3)),
      AttentionHeads(channels: 8, heads: 2, softCap: 0),
      AttentionHeads(channels: 8, heads: 2, adapters: .init(rank: 0, uses: [0])),
    ]
    for heads in bad {
      #expect(throws: MixerError.self) {
        try GroupedQueryAttention(ParameterStore().root, .init(heads))
      }
    }
    #expect(throws: MixerError.self) {
      try GroupedQueryAttention(
        ParameterStore().root, .init(AttentionHeads(channels: 8, heads: 2), window: 0))
    }
  }

  @Test func adaptersAreAdded() throws {
    let store = ParameterStore()
    let heads = AttentionHeads(
      channels: 8, heads: 2, inputChannels: 16, adapters: .init(rank: 3, uses: [0, 2]))
    let mixer = try GroupedQueryAttention(store.root, .init(heads))
    store.initialize(seed: 5)
    #expect(store.parameters.contains { $0.key == "linear_k_adapter_list.2.1.weight" })
    let x = Self.input([1, 5, 16])
    var outputs: [Tensor] = []
    for use in [nil, 0, 2] as [Int?] {
      var state = mixer.initialState(batch: 1)
      outputs.append(mixer.prefill(x, state: &state, use: use))
      #expect(outputs.last!.shape == [1, 5, 8])
    }
    #expect(relativeError(outputs[0], outputs[1]) > 1e-3 && relativeError(outputs[1], outputs[2]) > 1e-3)
  }
}
