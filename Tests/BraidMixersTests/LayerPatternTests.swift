import BraidMixers
import Testing

@Suite struct LayerPatternTests {
  enum Kind: Hashable { case mamba, attention, feedForward }
  static let letters: [Character: Kind] = ["M": .mamba, "*": .attention, "-": .feedForward]

  @Test func readsLettersRatiosPeriodsAndNames() throws {
    let pattern = try LayerPattern("M-M*-", letters: Self.letters)
    #expect(pattern.layers == [.mamba, .feedForward, .mamba, .attention, .feedForward])
    let ratio = try LayerPattern(ratio: "3:1", of: [Kind.mamba, .attention], layers: 6)
    #expect(ratio.layers == [.mamba, .mamba, .mamba, .attention, .mamba, .mamba])
    let every = try LayerPattern(Kind.attention, every: 4, offset: 2, otherwise: .mamba, layers: 7)
    #expect(every.layers.indices.filter { every.layers[$0] == .attention } == [2, 6])
    let names = try LayerPattern(names: ["a", "m"], known: ["a": Kind.attention, "m": .mamba])
    #expect(names.layers == [.attention, .mamba])
    #expect(try names.requiring(layers: 2) == names)
  }

  @Test func saysWhatIsWrong() {
    #expect(throws: LayerPatternError.letter("x", position: 3, known: "*-M")) {
      try LayerPattern("M-x", letters: Self.letters)
    }
    #expect(throws: LayerPatternError.size(0)) { try LayerPattern("", letters: Self.letters) }
    #expect(throws: LayerPatternError.size(4097)) {
      try LayerPattern(String(repeating: "M", count: 100_000), letters: Self.letters)
    }
    #expect(throws: LayerPatternError.name("b", position: 1, known: ["a"])) {
      try LayerPattern(names: ["b"], known: ["a": Kind.attention])
    }
    for text in ["3", "3:0", "3:-1", "3:1:1", "x:1", "", ":", "99999999999999999999:1"] {
      #expect(throws: LayerPatternError.ratio(text, kinds: 2)) {
        try LayerPattern(ratio: text, of: [Kind.mamba, .attention], layers: 6)
      }
    }
    #expect(throws: LayerPatternError.period(0, offset: 0)) {
      try LayerPattern(Kind.attention, every: 0, offset: 0, otherwise: .mamba, layers: 7)
    }
    #expect(throws: LayerPatternError.count(found: 2, expected: 3)) {
      try LayerPattern("MM", letters: Self.letters).requiring(layers: 3)
    }
  }
}
