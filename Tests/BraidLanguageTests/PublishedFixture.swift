import BraidLanguage
import BraidTestSupport
import Foundation

/// A small model of every published type, computed by Hugging Face transformers.
struct PublishedFixture {
  static let names = [
    "mamba", "mamba2", "falcon_mamba", "bamba", "granitemoehybrid", "falcon_h1", "lfm2", "lfm2_moe",
    "minimax",
    "jamba", "qwen3_next", "olmo_hybrid", "kimi_linear", "nemotron_h", "zamba2",
  ]

  private struct Continuation: Decodable {
    var greedy_continuation: [Int]
  }

  let folder: URL
  let fixture: ReferenceFixture
  let continuation: [Int]

  init(_ name: String) throws {
    folder = Bundle.module.resourceURL!.appendingPathComponent("Fixtures/\(name)")
    fixture = try ReferenceFixture(folder)
    let spec = try Data(contentsOf: folder.appendingPathComponent("spec.json"))
    continuation = try JSONDecoder().decode(Continuation.self, from: spec).greedy_continuation
  }

  var configurationPath: String { folder.appendingPathComponent("config.json").path }
  var tokens: [Int] {
    get throws { try fixture.data.tensor("input_ids").elements(as: Int64.self).map { Int($0) } }
  }
  var logits: Tensor { get throws { try fixture.data.tensor("logits") } }

  /// A folder as published: configuration and weights.
  func publish(adding extra: [(key: String, value: Tensor)] = []) throws -> String {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("braid-\(UUID().uuidString)")
      .path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    try FileManager.default.copyItem(atPath: configurationPath, toPath: path + "/config.json")
    try SafetensorsWriter.write(fixture.weights() + extra, to: path + "/model.safetensors")
    return path
  }

  func load() throws -> HybridLM {
    let path = try publish()
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try HybridLM.load(from: path)
  }
}
