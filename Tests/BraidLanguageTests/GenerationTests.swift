import BraidLanguage
import BraidTestSupport
import Foundation
import Testing

@Suite struct GenerationTests {
  /// Ten tokens, a file, another process's model, ten more: twenty in one go, to the bit.
  @Test(arguments: PublishedFixture.names) func statesGoOnToTheBit(_ name: String) throws {
    let fixture = try PublishedFixture(name)
    let tokens = try fixture.tokens
    let sampler = Sampler(temperature: 1.3, topK: 40, topP: 0.95, seed: 11)
    let model = try fixture.load()
    var state = model.initialState(batch: 1)
    let whole = try model.generate(after: tokens, count: 20, state: &state, sampler: sampler)

    let path = NSTemporaryDirectory() + "braid-\(UUID().uuidString).safetensors"
    defer { try? FileManager.default.removeItem(atPath: path) }
    var half = model.initialState(batch: 1)
    let first = try model.generate(after: tokens, count: 10, state: &half, sampler: sampler)
    try half.save(to: path)
    let other = try fixture.load()
    var resumed = try MixerState(contentsOf: path, like: other.initialState(batch: 1))
    let second = try other.generate(after: [], count: 10, state: &resumed, sampler: sampler)
    #expect(first + second == whole)
    #expect(resumed.position == state.position)
    for (a, b) in zip(state.tensors, resumed.tensors) {
      #expect(
        a.name == b.name && a.tensor.withBytes { x in b.tensor.withBytes { x.elementsEqual($0) } },
        "\(a.name)")
    }
  }

  @Test func stateOfAnotherModelIsRefused() throws {
    let (a, b) = (try PublishedFixture("bamba").load(), try PublishedFixture("mamba").load())
    let path = NSTemporaryDirectory() + "braid-\(UUID().uuidString).safetensors"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try a.initialState(batch: 1).save(to: path)
    #expect(throws: MixerError.self) { try MixerState(contentsOf: path, like: b.initialState(batch: 1)) }
  }

  @Test func countsStopsAndPending() throws {
    let fixture = try PublishedFixture("lfm2")
    let model = try fixture.load()
    let tokens = try fixture.tokens
    var none = model.initialState(batch: 1)
    #expect(try model.generate(after: tokens, count: 0, state: &none).isEmpty)
    #expect(none.position == tokens.count - 1)
    let eight = try model.generate(after: [], count: 8, state: &none)
    #expect(eight == fixture.continuation)

    // Ends where told, or after the end of the text, which then is the last token.
    var stopped = model.initialState(batch: 1)
    var seen: [Int] = []
    try model.generate(after: tokens, count: 8, state: &stopped) {
      seen.append($0)
      return seen.count < 3
    }
    #expect(seen == Array(fixture.continuation.prefix(3)))
    var configuration = model.configuration
    configuration.endOfSequence = [fixture.continuation[4]]
    let ending = try HybridLM(configuration)
    for (to, from) in zip(ending.store.parameters, model.store.parameters) { to.assign(from.value) }
    var state = ending.initialState(batch: 1)
    let text = try ending.generate(after: tokens, count: 8, state: &state, stopsAtEnd: true)
    #expect(text.count == fixture.continuation.firstIndex(of: fixture.continuation[4])! + 1)

    var empty = model.initialState(batch: 1)
    #expect(throws: LanguageModelError.self) { try model.generate(after: [], count: 1, state: &empty) }
    #expect(throws: LanguageModelError.token(id: 64, position: 1, vocabulary: 64)) {
      try model.generate(after: [1, 64], count: 1, state: &empty)
    }
  }

  /// Pieces of a long text do not change what follows.
  @Test func piecesOfAText() throws {
    let model = try PublishedFixture("bamba").load()
    let tokens = (0..<300).map { ($0 * 7 + $0 / 3) % 64 }
    var (a, b) = (model.initialState(batch: 1), model.initialState(batch: 1))
    let whole = try #require(try model.prefill(tokens, state: &a))
    let pieces = try #require(try model.prefill(tokens, state: &b, pieceLength: 64))
    #expect(relativeError(pieces, whole) <= 1e-5)
  }

  /// Texts of a batch do not see each other.
  @Test(arguments: ["falcon_h1", "kimi_linear", "zamba2"]) func batches(_ name: String) throws {
    let fixture = try PublishedFixture(name)
    let model = try fixture.load()
    let tokens = try fixture.tokens.map { Int64($0) }
    let texts = Tensor(tokens.reversed() + tokens, shape: [2, tokens.count])
    var state = model.initialState(batch: 2)
    let logits = withoutGradient { model(texts, state: &state) }
    #expect(relativeError(logits.selected(axis: 0, 1), try fixture.logits) <= 1e-5)
  }
}

@Suite struct SamplerTests {
  @Test func greedyTakesTheFirstLargest() {
    #expect(Sampler.greedy.token(Tensor([0, 3, 3, -1] as [Float]), position: 0) == 1)
    #expect(Sampler.greedy.token(Tensor([.nan, 1, 2] as [Float]), position: 0) == 2)
    #expect(Sampler(temperature: 1).token(Tensor([-.infinity, -.infinity, 0] as [Float]), position: 5) == 2)
  }

  @Test func topKAndTopPKeepTheLargest() {
    let logits = Tensor([0, 4, 1, 3, 2] as [Float])
    for position in 0..<200 {
      #expect([1, 3].contains(Sampler(topK: 2, seed: 1).token(logits, position: position)))
      #expect(Sampler(topP: 0.1, seed: 1).token(logits, position: position) == 1)
      #expect([1, 3].contains(Sampler(topP: 0.8, seed: 1).token(logits, position: position)))
    }
  }

  @Test func drawsFollowTheProbabilities() {
    let logits = Tensor([0, 1, 2] as [Float])
    let total = (0..<3).map { exp(Double($0) / 2) }.reduce(0, +)
    var counts = [0, 0, 0]
    for position in 0..<20_000 {
      counts[Sampler(temperature: 2, seed: 3).token(logits, position: position)] += 1
    }
    for i in 0..<3 { #expect(abs(Double(counts[i]) / 20_000 - exp(Double(i) / 2) / total) < 0.015) }
  }

  @Test func drawsDependOnSeedAndPositionAlone() {
    let logits = Tensor((0..<50).map { Float($0 % 7) })
    let a = (0..<40).map { Sampler(seed: 5).token(logits, position: $0) }
    #expect(a == (0..<40).reversed().map { Sampler(seed: 5).token(logits, position: $0) }.reversed())
    #expect(a != (0..<40).map { Sampler(seed: 6).token(logits, position: $0) })
  }
}

@Suite struct TokenFileTests {
  @Test func reads() throws {
    #expect(try TokenFile.parse(Array(" 1\n2\t30\r\n 004 ".utf8), path: "f") == [1, 2, 30, 4])
  }

  @Test(arguments: ["", " \n", "1 x", "1,2", "-1", "1.5", "99999999999999999999999", "\u{0}"])
  func refuses(_ text: String) {
    #expect(throws: LanguageModelError.self) { try TokenFile.parse(Array(text.utf8), path: "f") }
  }

  @Test func missingFiles() {
    #expect(throws: LanguageModelError.notFound(path: "/nowhere/ids")) { try TokenFile.read("/nowhere/ids") }
    #expect(throws: LanguageModelError.self) { try TokenFile.read("/") }
  }
}
