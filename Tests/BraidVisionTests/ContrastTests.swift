import BraidCheckpoint
import BraidTestSupport
import Foundation
import Testing

@testable import BraidVision

@Suite struct ContrastTests {
  static let configuration = ContrastConfiguration(channels: 8, blocks: 2, heads: 2, window: 4, stateSize: 8)

  private func model(scale: Int, fold: Int) -> Contrast {
    var c = ContrastTests.configuration
    c.scale = scale
    c.fold = fold
    let model = Contrast(c)
    model.parameters.initialize(seed: 4)
    // The tail starts at zero, which would hide everything before it.
    var g = Philox(seed: 8)
    let tail = model.parameters.parameters.first { $0.key == "tail.weight" }!
    tail.assign(.normal(tail.shape, standardDeviation: 0.05, using: &g))
    return model
  }

  @Test func anUntrainedModelReturnsItsInput() {
    let model = Contrast(ContrastTests.configuration)
    model.parameters.initialize(seed: 1)
    var g = Philox(seed: 2)
    let x = Tensor.uniform([1, 8, 12, 3], using: &g)
    #expect(relativeError(model(x), x) == 0)
  }

  @Test(arguments: [(1, 1), (1, 2), (2, 1)])
  func gradientsOfAllParametersHold(_ scale: Int, _ fold: Int) {
    let model = model(scale: scale, fold: fold)
    var g = Philox(seed: 3)
    let x = Tensor.uniform([1, 8, 8, 3], using: &g)
    #expect(model(x).shape == [1, 8 * scale, 8 * scale, 3])
    let parameters = model.parameters.parameters
    let values = parameters.map { $0.value }
    for start in stride(from: 0, to: parameters.count, by: 8) {
      let range = start..<min(start + 8, parameters.count)
      // A step that stands well above the rounding of a whole network.
      let error = gradientError(range.map { values[$0] }, step: 4e-2, samples: 4, floor: 3e-2) { leaves in
        for (index, leaf) in zip(range, leaves) { parameters[index].assign(leaf) }
        defer { for index in range { parameters[index].assign(values[index]) } }
        return model(x)
      }
      #expect(error < 1.2e-2, "parameters \(range.map { parameters[$0].key }): \(error)")
    }
  }

  @Test func savedInHalfPrecisionAndLoadedItIsTheSameModel() throws {
    let model = model(scale: 2, fold: 1)
    let path = NSTemporaryDirectory() + "/braid-contrast-\(UUID().uuidString).safetensors"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try RestorationModelFile.write(
      model.parameters.values, of: model, name: "trial", card: ["summary": "none"], to: path)
    let checkpoint = try Checkpoint.open(path)
    let description = try #require(try ModelDescription(checkpoint))
    let loaded = try RestorationModelFile.model(for: description, source: path)
    try loaded.parameters.load(from: checkpoint)
    loaded.parameters.freeze()
    var g = Philox(seed: 6)
    let x = Tensor.uniform([1, 8, 16, 3], using: &g)
    #expect(relativeError(loaded(x), model(x)) < 1e-3)
  }

  @Test func anUnusableConfigurationIsAnErrorNotATrap() throws {
    for text in [#"{"channels": -1}"#, #"{}"#, #"{"channels": 7, "blocks": 1, "heads": 2}"#] {
      let description = ModelDescription(
        architecture: "contrast", configuration: try JSONValue(parsing: text, source: "test"))
      #expect(throws: ModelDescriptionError.self) {
        try RestorationModelFile.model(for: description, source: "test")
      }
    }
  }
}
