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
        let book = RouteBook()
        let reference = book.noting { mixer.reference(x) }
        #expect(
          relativeError(book.repeating { mixer(x) }, reference) < 1e-5, "\(configuration) \(length)")
        let steps = book.repeating { streamed(mixer, x, Array(repeating: 1, count: length)) }
        #expect(relativeError(steps, reference) < 1e-5, "\(configuration) \(length)")
        if length > 60 {
          let parts = book.repeating { streamed(mixer, x, [7, 1, 33, length - 42, 1]) }
          #expect(relativeError(parts, reference) < 1e-5, "\(configuration) \(length)")
        }
      }
      let x = input([1, 9, mixer.channels])
      #expect(gradientError([x]) { mixer($0[0]) } < 1e-2, "\(configuration)")
    }
  }

  @Test func groupedQueryForms() throws { try Self.checkForms(GroupedQueryAttention.self) }
  @Test func latentForms() throws { try Self.checkForms(MultiHeadLatentAttention.self) }
  @Test func slidingWindowForms() throws { try Self.checkForms(SlidingWindowAttention.self) }
  @Test func stridedBlockForms() throws { try Self.checkForms(StridedBlockAttention.self) }
  @Test func topKBlockForms() throws { try Self.checkForms(TopKBlockAttention.self) }
  @Test func topKForms() throws { try Self.checkForms(TopKAttention.self) }

  /// With everything kept, choosing changes nothing: every sparse form is full attention.
  @Test func sparseFormsThatKeepEverythingAreFull() throws {
    let heads = AttentionHeads(channels: 8, heads: 4, keyHeads: 2, rotary: RotaryEmbedding(dimensions: 2))
    func output<Mixer: SequenceMixer>(_ type: Mixer.Type, _ configuration: Mixer.Configuration) throws
      -> Tensor
    {
      let store = ParameterStore()
      let mixer = try Mixer(store.root, configuration)
      store.initialize(seed: 5)
      return mixer(Self.input([2, 90, 8]))
    }
    let full = try output(GroupedQueryAttention.self, .init(heads))
    #expect(relativeError(try output(SlidingWindowAttention.self, .init(heads, window: 90)), full) < 1e-5)
    #expect(
      relativeError(
        try output(StridedBlockAttention.self, .init(heads, window: 1, block: 7, stride: 1)), full)
        < 1e-5)
    #expect(
      relativeError(try output(TopKBlockAttention.self, .init(heads, block: 8, kept: 20)), full) < 1e-5)
    #expect(
      relativeError(try output(TopKAttention.self, .init(heads, kept: 90, retrieving: [0])), full) < 1e-5)
  }

  /// A layer on the choices of the layer before: as if it had made them itself.
  @Test func choicesGoFromLayerToLayer() throws {
    let heads = AttentionHeads(channels: 8, heads: 4, keyHeads: 2)
    let store = ParameterStore()
    let first = try TopKAttention(store.root("a"), .init(heads, kept: 6))
    let second = try TopKAttention(store.root("b"), .init(heads, kept: 6, retrieving: []))
    store.initialize(seed: 5)
    let x = Self.input([2, 40, 8])
    var (one, two) = (first.initialState(batch: 2), second.initialState(batch: 2))
    let (_, choices) = first.prefill(x, state: &one, choices: nil)
    #expect(choices.shape == [2, 40, 2, 6])
    let whole = second.prefill(x, state: &two, choices: choices)
    #expect(whole.choices.elements(as: Int32.self) == choices.elements(as: Int32.self))
    var stepped = second.initialState(batch: 2)
    let parts = (0..<40).map { t in
      second.prefill(
        x.sliced(axis: 1, t..<t + 1), state: &stepped, choices: choices.sliced(axis: 1, t..<t + 1)
      ).output
    }
    #expect(relativeError(Tensor.concatenated(parts, axis: 1), whole.output) < 1e-5)
    // Each query's choices are the keys of largest probability: among six or fewer, all of them.
    let numbers = choices.elements(as: Int32.self)
    for t in 0..<6 {
      let row = numbers[t * 2 * 6..<t * 2 * 6 + 6].filter { $0 >= 0 }
      #expect(row.sorted() == (0...t).map(Int32.init))
    }
  }

  /// The published rule of Hybrid Forcing on block means, written out.
  @Test func blockMeansChoose() {
    let (q, k) = (Self.input([1, 70, 2, 4]), Self.input([1, 100, 2, 4], seed: 9))
    for centring in [BlockCentring.none, .positions, .heads] {
      let selection = BlockSelection.byMeans(
        q, k, queryBlock: 32, keyBlock: 16, share: 0.5, centring: centring)
      #expect(selection.blocks.shape == [1, 3, 2, 3])
      let (qf, kf) = (q.floats.map(Double.init), k.floats.map(Double.init))
      func at(_ t: Int, _ h: Int, _ c: Int) -> Double { kf[(t * 2 + h) * 4 + c] }
      func key(_ t: Int, _ h: Int, _ c: Int) -> Double {
        var centre = 0.0
        switch centring {
        case .none: break
        case .positions:
          for other in 0..<100 { centre += at(other, h, c) / 100 }
        case .heads: centre = (at(t, 0, c) + at(t, 1, c)) / 2
        }
        return at(t, h, c) - centre
      }
      let chosen = selection.blocks.elements(as: Int32.self)
      for block in 0..<3 {
        for h in 0..<2 {
          let rows = block * 32..<min(70, block * 32 + 32)
          var scores = [Double](repeating: 0, count: 7)
          for j in 0..<7 {
            let columns = j * 16..<min(100, j * 16 + 16)
            for c in 0..<4 {
              var (a, b) = (0.0, 0.0)
              for t in rows { a += qf[(t * 2 + h) * 4 + c] / Double(rows.count) }
              for t in columns { b += key(t, h, c) / Double(columns.count) }
              scores[j] += a * b
            }
          }
          let order = (0..<7).sorted { scores[$0] > scores[$1] }
          let best = order.prefix(3).map { Int32($0) }
          let row = (block * 2 + h) * 3
          #expect(Array(chosen[row..<row + 3]) == best)
        }
      }
    }
  }

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
