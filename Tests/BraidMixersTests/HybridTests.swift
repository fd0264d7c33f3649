import BraidMixers
import BraidNN
import BraidTensor
import BraidTestSupport
import Foundation
import Testing

/// Where composed mixers must equal plain ones.
@Suite struct HybridTests {
  private func share(_ from: ParameterStore, _ to: ParameterStore) {
    let values = Dictionary(uniqueKeysWithValues: from.parameters.map { ($0.key, $0.value) })
    for parameter in to.parameters { if let value = values[parameter.key] { parameter.assign(value) } }
  }

  static let heads = AttentionHeads(
    channels: 12, heads: 4, keyHeads: 2, headWidth: 6, rotary: RotaryEmbedding(dimensions: 6))

  @Test func allTokensSalientIsSoftmaxAttention() throws {
    let (a, b) = (ParameterStore(), ParameterStore())
    let routed = try SalientTokenMixer(a.root, .init(Self.heads, block: 8, kept: 8))
    let plain = try GroupedQueryAttention(b.root, .init(Self.heads))
    a.initialize(seed: 1)
    b.initialize(seed: 2)
    share(a, b)
    let x = MixerCase.inputs(2, [50], 12)
    #expect(relativeError(routed(x), plain(x)) < 1e-5)
  }

  @Test func aRouterThatSaysFullIsSoftmaxAttention() throws {
    let (a, b) = (ParameterStore(), ParameterStore())
    let routed = try LayerRouter(a.root, .init(Self.heads, context: 10, window: 4))
    let plain = try GroupedQueryAttention(b.root, .init(Self.heads))
    a.initialize(seed: 1)
    b.initialize(seed: 2)
    share(a, b)
    let x = MixerCase.inputs(2, [50], 12)
    // As it starts: zeros but for a bias towards full attention.
    #expect(relativeError(routed(x), plain(x)) < 1e-5)
    let last = try #require(a.parameters.first { $0.key.hasSuffix("agnostic.4.bias") })
    last.assign(Tensor([4, 0] as [Float]))
    let sparse = routed(x)
    #expect(relativeError(sparse, plain(x)) > 1e-2)
    #expect(relativeError(sparse.sliced(axis: 1, 0..<10), plain(x).sliced(axis: 1, 0..<10)) < 1e-5)
  }

  @Test func aHeadTimesZeroIsNotThere() throws {
    func part(_ scale: Float) -> ParallelHeads.Configuration {
      .init([
        .init("a", .init(Mamba.self, .init(channels: 6, stateSize: 4)), outputScale: 2),
        .init("b", .init(GatedShortConvolution.self, .init(channels: 6)), outputScale: scale),
      ])
    }
    let (a, b) = (ParameterStore(), ParameterStore())
    let both = try ParallelHeads(a.root, part(0))
    let alone = try Mamba(b.root("a"), .init(channels: 6, stateSize: 4))
    a.initialize(seed: 1)
    b.initialize(seed: 2)
    share(a, b)
    let x = MixerCase.inputs(2, [20], 6)
    #expect(relativeError(both(x), alone(x) * 2) < 1e-6)
  }

  @Test func contradictoryPartsAreTypedErrors() throws {
    func make(_ parts: [ParallelHeads.Part]) throws {
      _ = try ParallelHeads(ParameterStore().root, .init(parts))
    }
    let six = NamedMixer(GatedShortConvolution.self, .init(channels: 6))
    let seven = NamedMixer(GatedShortConvolution.self, .init(channels: 7))
    let map = NamedMixer(SelectiveScan2D.self, .init(channels: 6))
    #expect(throws: MixerError.self) { try make([]) }
    #expect(throws: MixerError.self) { try make([.init("a", six), .init("a", six)]) }
    #expect(throws: MixerError.self) { try make([.init("a", six), .init("b", seven)]) }
    #expect(throws: MixerError.self) { try make([.init("a", map)]) }
    let unknown = Data("{\"parts\":[{\"name\":\"a\",\"mixer\":{\"mixer\":\"x\",\"configuration\":{}}}]}".utf8)
    #expect(throws: MixerError.self) {
      try MixerRegistry.entry("parallel-heads").make(ParameterStore().root, unknown)
    }
    #expect(six == NamedMixer(GatedShortConvolution.self, .init(channels: 6)) && six != seven)
  }
}
