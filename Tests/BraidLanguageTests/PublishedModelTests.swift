import BraidLanguage
import BraidTestSupport
import Testing

@Suite struct PublishedModelTests {
  static let names = PublishedFixture.names

  @Test(arguments: names) func logitsAgree(_ name: String) throws {
    let fixture = try PublishedFixture(name)
    let model = try fixture.load()
    let (tokens, expected) = (try fixture.tokens, try fixture.logits)
    var state = model.initialState(batch: 1)
    let ids = Tensor(tokens.map { Int64($0) }, shape: [1, tokens.count])
    let parallel = withoutGradient { model(ids, state: &state) }.reshaped(expected.shape)
    let error = relativeError(parallel, expected)
    #expect(error <= 1e-5)

    var single = model.initialState(batch: 1)
    var rows: [Tensor] = []
    for token in tokens {
      rows.append(
        withoutGradient { model(Tensor([Int64(token)], shape: [1, 1]), state: &single) }.reshaped(1, -1))
    }
    let stepped = Tensor.concatenated(rows, axis: 0)
    #expect(relativeError(stepped, parallel) <= 1e-5)
    #expect(relativeError(stepped, expected) <= 1e-5)

    var pieces = model.initialState(batch: 1)
    var parts: [Tensor] = []
    try model.logits(of: tokens, state: &pieces, pieceLength: 17) { parts.append($0) }
    #expect(relativeError(Tensor.concatenated(parts, axis: 0), parallel) <= 1e-5)
    for (a, b) in zip(state.tensors, pieces.tensors) where a.tensor.elementCount > 0 {
      #expect(relativeError(b.tensor, a.tensor) <= 1e-5, "\(a.name)")
    }
  }

  @Test(arguments: names) func greedyContinuationIsEqual(_ name: String) throws {
    let fixture = try PublishedFixture(name)
    let model = try fixture.load()
    var state = model.initialState(batch: 1)
    #expect(try model.generate(after: fixture.tokens, count: 8, state: &state) == fixture.continuation)
  }
}
