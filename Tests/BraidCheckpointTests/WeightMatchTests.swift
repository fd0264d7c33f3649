import BraidTensor
import Testing

@testable import BraidCheckpoint

@Suite struct WeightMatchTests {
  private func checkpoint(_ body: (Checkpoint) throws -> Void) throws {
    try Fixture.withFolder { folder in
      try SafetensorsWriter.write(
        [
          (key: "conv.weight", value: Tensor.ones([2, 3])), (key: "conv.bias", value: Tensor.ones([2])),
          (key: "index", value: Tensor([0, -1, 2] as [Int64])),
          (key: "mean", value: Tensor([0.5] as [Float])),
        ], to: folder + "a")
      try body(Checkpoint.open(folder + "a"))
    }
  }

  private let index = WeightMatch.Derived.integers("index", shape: [3]) { [0, -1, 2] }
  private let mean = WeightMatch.Derived.numbers("mean", shape: [1]) { [0.5] }

  @Test func loadsWhatAgrees() throws {
    try checkpoint { file in
      let match = WeightMatch(
        ["conv.weight": [2, 3], "conv.bias": [2]],
        derived: [index, mean, .init("absent")])
      let tensors = try match.load(from: file)
      #expect(Array(tensors.keys) == ["conv.weight", "conv.bias"])
      #expect(tensors["conv.weight"]?.shape == [2, 3])
      let renamed = try WeightMatch(["w": [2, 3]]).load(from: file) {
        $0 == "conv.weight" ? "w" : nil
      }
      #expect(renamed["w"]?.shape == [2, 3])
    }
  }

  @Test func listsEverythingAtOnce() throws {
    try checkpoint { file in
      let match = WeightMatch(
        ["conv.weights": [2, 3], "conv.bias": [3], "q.proj": [1]],
        derived: [
          .integers("index", shape: [3]) { [0, 1, 2] }, .numbers("mean", shape: [1]) { [0.25] },
        ])
      do {
        _ = try match.load(from: file)
        Issue.record("loaded")
      } catch CheckpointError.mismatch(_, let mismatch) {
        #expect(mismatch.missing.map(\.name) == ["conv.weights", "q.proj"])
        #expect(mismatch.missing.map(\.nearest) == ["conv.weight", nil])
        #expect(mismatch.unused.map(\.name) == ["conv.weight"])
        #expect(mismatch.unused.map(\.nearest) == ["conv.weights"])
        #expect(mismatch.misshapen == [.init(name: "conv.bias", expected: [3], found: [2])])
        #expect(mismatch.contradictions.map(\.name) == ["index", "mean"])
        #expect(mismatch.description.contains("conv.bias: [2] in the file, [3] in the model"))
        #expect(mismatch.description.contains("element 1 is -1, the configuration gives 1"))
      }
    }
  }

  @Test func longListsAreCut() throws {
    try checkpoint { file in
      let match = WeightMatch((0..<500).map { (key: "layer.\($0)", value: Shape([1])) })
      let error = #expect(throws: CheckpointError.self) { try match.load(from: file) }
      let text = try #require(error).description
      #expect(text.contains("missing from the file (500)") && text.contains("and 488 more"))
      #expect(text.split(separator: "\n").count < 30)
    }
  }

  @Test(arguments: [("", "abc", 3), ("kitten", "sitting", 3), ("abc", "abc", 0), ("ab", "ba", 2)])
  func editDistance(_ a: String, _ b: String, _ truth: Int) {
    #expect(EditDistance.distance(Array(a.utf8), Array(b.utf8), below: 10) == truth)
    #expect(EditDistance.distance(Array(b.utf8), Array(a.utf8), below: 10) == truth)
    #expect(EditDistance.distance(Array(a.utf8), Array(b.utf8), below: truth) == nil)
  }
}
