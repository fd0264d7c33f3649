import BraidCheckpoint
import BraidMixers
import BraidNN
import BraidTensor
import BraidTestSupport
import Foundation
import Testing

/// What every mixer of the registry owes: parameters and states survive a file; configurations are checked.
@Suite struct StorageConformanceTests {
  private func withFolder(_ body: (URL) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try body(folder)
  }

  @Test(arguments: MixerCase.all)
  func parametersAndStatesSurviveAFile(_ this: MixerCase) throws {
    try withFolder { folder in
      let (mixer, store) = try this.make()
      let weights = folder.appendingPathComponent("weights.safetensors").path
      try SafetensorsWriter.write(store.values, to: weights)
      let otherStore = ParameterStore()
      let other = try this.entry.make(otherStore.root, this.json)
      try otherStore.load(from: Checkpoint.open(weights), storedAs: nil)
      let isMap = mixer is any MapMixer
      let x = MixerCase.inputs(2, isMap ? [8, 9] : [90], mixer.channels, seed: 10)
      try withoutGradient {
        let output = mixer.callAsFunction(x)
        // Loaded weights are constant, and the kernels for constant weights may add in another order.
        this.expect(relativeError(other.callAsFunction(x), output), atMost: 2e-6, "loaded parameters")
        guard let causal = mixer as? any CausalMixer else { return }
        var state = causal.initialState(batch: 2)
        _ = causal.prefill(x.sliced(axis: 1, 0..<70), state: &state)
        let path = folder.appendingPathComponent("state.safetensors").path
        try state.save(to: path)
        var loaded = try MixerState(contentsOf: path, like: causal.initialState(batch: 2))
        #expect(loaded.position == 70)
        func rest(_ state: inout MixerState) -> [Float] {
          let many = causal.prefill(x.sliced(axis: 1, 70..<80), state: &state)
          return many.floats + causal.inSteps(x.sliced(axis: 1, 80..<90), state: &state).floats
        }
        #expect(
          rest(&state) == rest(&loaded), "\(this.testDescription): a loaded state continues with other bits")
      }
    }
  }

  @Test(arguments: MixerRegistry.entries.map(\.name))
  func badConfigurationsAreTypedErrors(_ name: String) throws {
    let entry = try MixerRegistry.entry(name)
    for json in ["", "[]", "{\"channels\": \"many\"}", "{\"channels\": -3}"] {
      #expect(throws: MixerError.self, "\(name): \(json)") {
        try entry.make(ParameterStore().root, Data(json.utf8))
      }
    }
  }

  /// Numbers in an example replaced by zero and by minus one: an error or a mixer, never a trap.
  @Test(arguments: MixerCase.all)
  func sillyNumbersAreTypedErrors(_ this: MixerCase) throws {
    let object = try #require(JSONSerialization.jsonObject(with: this.json) as? [String: Any])
    for (key, value) in object where value is NSNumber {
      for silly in [0, -1] {
        var changed = object
        changed[key] = silly
        let json = try JSONSerialization.data(withJSONObject: changed)
        do { _ = try this.entry.make(ParameterStore().root, json) } catch {
          #expect(error is MixerError, "\(this.testDescription) with \(key) = \(silly): \(error)")
        }
      }
    }
  }

  @Test func unknownNamesAreTypedErrors() {
    #expect(throws: MixerError.self) { try MixerRegistry.entry("no such mixer") }
    #expect(Set(MixerRegistry.entries.map(\.name)).count == MixerRegistry.entries.count)
  }
}
