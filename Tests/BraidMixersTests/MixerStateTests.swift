import BraidMixers
import BraidTensor
import BraidTestSupport
import Foundation
import Testing

@Suite struct MixerStateTests {
  @Test func bufferGrowsAndForgets() {
    var state = MixerState(["rows": .zeros([2, 0, 3])])
    var all: [Tensor] = []
    var generator = Philox(seed: 1)
    for n in [1, 5, 300, 1, 1, 700, 2] {
      let rows = Tensor.normal([2, n, 3], using: &generator)
      all.append(rows)
      state.append(rows, to: "rows")
      let joined = Tensor.concatenated(all, axis: 1)
      #expect(relativeError(state["rows"], joined) == 0)
    }
    let copy = state
    state.keepLast(10, of: "rows")
    for _ in 0..<600 {
      let row = Tensor.normal([2, 1, 3], using: &generator)
      all.append(row)
      state.append(row, to: "rows")
      state.keepLast(10, of: "rows")
    }
    let joined = Tensor.concatenated(all, axis: 1)
    let last = joined.shape[1]
    #expect(relativeError(state["rows"], joined.sliced(axis: 1, last - 10..<last)) == 0)
    #expect(relativeError(copy["rows"], joined.sliced(axis: 1, 0..<1010)) == 0)
  }

  @Test func savesSplitsAndJoins() throws {
    var generator = Philox(seed: 2)
    var state = MixerState(
      ["a": .normal([3, 2, 2], using: &generator), "b": .zeros([3, 0, 4])], position: 7)
    let template = MixerState(
      ["a": .zeros([3, 2, 2]), "b": .zeros([3, 0, 4])],
      children: ["inner": MixerState(["c": .zeros([3, 1])])])
    state.append(.normal([3, 7, 4], using: &generator), to: "b")
    state[child: "inner"] = MixerState(["c": .ones([3, 1])], position: 7)
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("state.safetensors").path
    try state.save(to: path)
    let loaded = try MixerState(contentsOf: path, like: template)
    #expect(loaded.position == 7 && loaded.children["inner"]?.position == 7)
    for (a, b) in zip(loaded.tensors, state.tensors) {
      #expect(a.name == b.name && a.tensor.floats == b.tensor.floats)
    }
    #expect(throws: MixerError.self) {
      try MixerState(contentsOf: path, like: MixerState(["a": .zeros([3, 2, 2])]))
    }
    #expect(throws: MixerError.self) {
      try MixerState(contentsOf: path, like: MixerState(["a": .zeros([1, 2, 2]), "b": .zeros([1, 0, 4])]))
    }
    let joined = MixerState.joined(state.split([1, 2]))
    for (a, b) in zip(joined.tensors, state.tensors) { #expect(a.tensor.floats == b.tensor.floats) }
  }
}
