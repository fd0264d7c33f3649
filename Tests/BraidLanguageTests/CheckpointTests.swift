import BraidLanguage
import BraidTestSupport
import Foundation
import Testing

/// What published folders hold beside the plain case.
@Suite struct CheckpointTests {
  private func logits(_ model: HybridLM, _ tokens: [Int]) -> Tensor {
    var state = model.initialState(batch: 1)
    let ids = Tensor(tokens.map { Int64($0) }, shape: [1, tokens.count])
    return withoutGradient { model(ids, state: &state) }.reshaped(tokens.count, -1)
  }

  @Test func derivedTablesAreChecked() throws {
    let fixture = try PublishedFixture("minimax")
    let tables = try Checkpoint.open(
      fixture.folder.appendingPathComponent("derived_buffers.safetensors").path)
    var extra = try tables.keys.map { (key: $0, value: try tables.tensor($0)) }
    #expect(extra.count == 8)
    let right = try fixture.publish(adding: extra)
    defer { try? FileManager.default.removeItem(atPath: right) }
    #expect(
      relativeError(logits(try HybridLM.load(from: right), try fixture.tokens), try fixture.logits) <= 1e-5)

    let slopes = extra.firstIndex { $0.key.hasSuffix("slope_rate") }!
    extra[slopes].value = extra[slopes].value * 1.5
    let wrong = try fixture.publish(adding: extra)
    defer { try? FileManager.default.removeItem(atPath: wrong) }
    let error = try #require(throws: CheckpointError.self) { try HybridLM.load(from: wrong) }
    #expect("\(error)".contains("slope_rate"))
  }

  /// A folder with other tensors and keys of the configuration than the fixture's.
  private func publish(
    _ fixture: PublishedFixture, _ tensors: [(key: String, value: Tensor)], shards: Int = 1,
    configuration change: (String) -> String = { $0 }
  ) throws -> String {
    let path = NSTemporaryDirectory() + "braid-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    let text = try String(contentsOfFile: fixture.configurationPath, encoding: .utf8)
    try change(text).write(toFile: path + "/config.json", atomically: true, encoding: .utf8)
    if shards == 1 {
      try SafetensorsWriter.write(tensors, to: path + "/model.safetensors")
      return path
    }
    var map: [String: String] = [:]
    for shard in 0..<shards {
      let name = "model-0000\(shard + 1)-of-0000\(shards).safetensors"
      let own = tensors.enumerated().filter { $0.offset % shards == shard }.map(\.element)
      for tensor in own { map[tensor.key] = name }
      try SafetensorsWriter.write(own, to: path + "/" + name)
    }
    let index = try JSONSerialization.data(withJSONObject: [
      "metadata": [:] as [String: Int], "weight_map": map,
    ])
    try index.write(to: URL(fileURLWithPath: path + "/model.safetensors.index.json"))
    return path
  }

  @Test func shardsWithAnIndex() throws {
    let fixture = try PublishedFixture("lfm2")
    let path = try publish(fixture, fixture.fixture.weights(), shards: 3)
    defer { try? FileManager.default.removeItem(atPath: path) }
    #expect(
      relativeError(logits(try HybridLM.load(from: path), try fixture.tokens), try fixture.logits) <= 1e-5)
  }

  @Test func tiedEmbeddings() throws {
    let fixture = try PublishedFixture("bamba")
    let tie = { (text: String) in
      text.replacing("\"tie_word_embeddings\": false", with: "\"tie_word_embeddings\": true")
    }
    let weights = fixture.fixture.weights()
    let table = weights.first { $0.key == "model.embed_tokens.weight" }!.value
    let tokens = try fixture.tokens
    // The head absent, the table once more, and a head of its own.
    let without = try publish(fixture, weights.filter { $0.key != "lm_head.weight" }, configuration: tie)
    let copied = try publish(
      fixture, weights.map { $0.key == "lm_head.weight" ? ($0.key, table) : $0 }, configuration: tie)
    let untied = try publish(
      fixture, weights.map { $0.key == "lm_head.weight" ? ($0.key, table) : $0 })
    let own = try publish(fixture, weights, configuration: tie)
    defer {
      for path in [without, copied, untied, own] { try? FileManager.default.removeItem(atPath: path) }
    }
    let expected = logits(try HybridLM.load(from: untied), tokens)
    #expect(try HybridLM.load(from: without).configuration.tiesEmbedding)
    #expect(relativeError(logits(try HybridLM.load(from: without), tokens), expected) <= 1e-6)
    #expect(relativeError(logits(try HybridLM.load(from: copied), tokens), expected) <= 1e-6)
    #expect(relativeError(logits(try HybridLM.load(from: own), tokens), try fixture.logits) <= 1e-5)
  }

  /// Zamba2's shared transformer stands once in a published file.
  @Test func sharedTransformersMayStandOnce() throws {
    let fixture = try PublishedFixture("zamba2")
    let weights = fixture.fixture.weights()
    let first = Dictionary(uniqueKeysWithValues: weights.map { ($0.key, $0.value) })
    let twice = weights.map { key, value in
      (key, key.contains("layers.3.shared_") ? first[key.replacing("layers.3", with: "layers.1")]! : value)
    }
    let once = weights.filter { !$0.key.contains("layers.3.shared_") }
    let paths = try [publish(fixture, twice), publish(fixture, once)]
    defer { for path in paths { try? FileManager.default.removeItem(atPath: path) } }
    let results = try paths.map { logits(try HybridLM.load(from: $0), try fixture.tokens) }
    #expect(results[0].floats == results[1].floats)
  }

  @Test func olderNamesAndForeignTensors() throws {
    for (name, from, to) in [
      ("mamba", "backbone.embeddings.", "backbone.embedding."), ("nemotron_h", "backbone.", "model."),
      ("olmo_hybrid", "attention_layer_norm", "input_layernorm"),
      ("olmo_hybrid", "feedforward_layer_norm", "post_attention_layernorm"),
    ] {
      let fixture = try PublishedFixture(name)
      let path = try publish(
        fixture,
        fixture.fixture.weights().map { ($0.key.replacing(from, with: to), $0.value) } + [
          ("mtp.layers.0.weight", Tensor([1 as Float])),
          ("model.layers.0.self_attn.rotary_emb.inv_freq", Tensor([1 as Float])),
        ])
      defer { try? FileManager.default.removeItem(atPath: path) }
      let error = relativeError(logits(try HybridLM.load(from: path), try fixture.tokens), try fixture.logits)
      #expect(error <= 1e-5, "\(name)")
    }
  }

  @Test func wrongTensorsAreNamed() throws {
    let fixture = try PublishedFixture("jamba")
    let path = try publish(
      fixture, fixture.fixture.weights().map { ($0.key.replacing("router", with: "rooter"), $0.value) })
    defer { try? FileManager.default.removeItem(atPath: path) }
    let error = try #require(throws: CheckpointError.self) { try HybridLM.load(from: path) }
    #expect("\(error)".contains("router.weight"))
    #expect(throws: LanguageModelError.notFound(path: "/nowhere/config.json")) {
      try HybridLM.load(from: "/nowhere")
    }
  }

  /// What is held in few bits gives what the same numbers give in float32; products with bfloat16 weights round their
  /// other factor too.
  @Test(arguments: ["bamba", "minimax", "qwen3_next", "granitemoehybrid", "kimi_linear", "zamba2"])
  func weightFormats(_ name: String) throws {
    let fixture = try PublishedFixture(name)
    let tokens = try fixture.tokens
    for format in WeightFormat.allCases {
      let (held, plain) = (try fixture.load(), try fixture.load())
      held.hold(as: format)
      for (to, from) in zip(plain.store.parameters, held.store.parameters) { to.assign(from.value) }
      let error = relativeError(logits(held, tokens), logits(plain, tokens))
      #expect(error <= (format == .bf16 ? 0.2 : 1e-4), "\(format) \(error)")
      #expect(format != .int8 || name != "bamba" || held.weightBytes < plain.weightBytes)
    }
  }
}
