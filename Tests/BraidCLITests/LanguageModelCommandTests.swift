import Braid
import Foundation
import Testing

@Suite struct LanguageModelCommandTests {
  private static let document = """
    {"model_type": "lfm2", "vocab_size": 20, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
     "layer_types": ["conv", "full_attention"], "num_attention_heads": 2, "num_key_value_heads": 1,
     "block_auto_adjust_ff_dim": false, "eos_token_id": 2}
    """

  /// A published folder of random weights, and the model in it.
  private func publish(_ braid: BraidExecutable) throws -> HybridLM {
    let model = try HybridLM(HybridLMConfiguration(JSONValue(parsing: Self.document)))
    model.store.initialize(seed: 4)
    for parameter in model.store.parameters { parameter.assign(parameter.value * 3) }
    let folder = braid.folder + "/model"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try braid.write("model/config.json", text: Self.document)
    try SafetensorsWriter.write(model.store.values, to: folder + "/model.safetensors")
    try braid.write("ids", text: "3 1 4\n1 5\t9\n")
    return model
  }

  private func ids(_ run: BraidExecutable.Run) -> [Int] {
    run.output.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map { Int($0) ?? -1 }
  }

  @Test func logits() throws {
    let braid = try BraidExecutable()
    defer { braid.remove() }
    let model = try publish(braid)
    let run = try braid("lm", "logits", "--model", "model", "--tokens", "ids", "-o", "out.npy", "-q")
    #expect(run.status == 0 && run.output.isEmpty, "\(run.errors)")
    let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: braid.folder + "/out.npy")))
    let (values, shape) = try NPY.read(bytes: bytes)
    #expect(shape == [6, 20])
    var state = model.initialState(batch: 1)
    let ids = Tensor([Int64(3), 1, 4, 1, 5, 9], shape: [1, 6])
    let expected = withoutGradient { model(ids, state: &state) }.floats
    #expect(zip(values, expected).allSatisfy { abs($0 - $1) <= 1e-4 * (1 + abs($1)) })
    let event = try braid("lm", "logits", "--model", "model", "--tokens", "ids", "-o", "out.npy", "--json")
      .events().last
    #expect(event?["event"] == .string("result") && event?["vocabulary"] == .integer(20))
  }

  @Test func generatesAndGoesOn() throws {
    let braid = try BraidExecutable()
    defer { braid.remove() }
    let model = try publish(braid)
    var state = model.initialState(batch: 1)
    let expected = try model.generate(after: [3, 1, 4, 1, 5, 9], count: 20, state: &state)
    let whole = try braid(
      "lm", "generate", "--model", "model", "--tokens", "ids", "--count", "20", "--greedy")
    #expect(whole.status == 0 && whole.errors.isEmpty && ids(whole) == expected, "\(whole.errors)")

    let draws = ["--temperature", "1.5", "--top-k", "10", "--top-p", "0.9", "--seed", "7"]
    let drawn = try braid.run(
      ["lm", "generate", "--model", "model", "--tokens", "ids", "--count", "20"] + draws)
    let first = try braid.run(
      ["lm", "generate", "-m", "model", "--tokens", "ids", "--count", "10", "--state-out", "s"] + draws)
    let second = try braid.run(
      ["lm", "generate", "-m", "model", "--state-in", "s", "--count", "10"] + draws)
    #expect(ids(drawn).count == 20 && ids(first) + ids(second) == ids(drawn))
    #expect(braid.files().contains("s"))

    // Added tokens come after what is pending.
    try braid.write("more", text: "8")
    let added = try braid(
      "lm", "generate", "-m", "model", "--state-in", "s", "--tokens", "more", "--count", "3")
    #expect(added.status == 0 && ids(added).count == 3)
    #expect(try ids(braid("lm", "generate", "-m", "model", "--tokens", "ids", "--count", "0")) == [])
    for format in ["f32", "bf16", "int8", "q4_0"] {
      let run = try braid(
        "lm", "generate", "-m", "model", "--tokens", "ids", "--count", "4", "--weights-format", format)
      #expect(run.status == 0 && ids(run).count == 4, "\(run.errors)")
    }
  }

  @Test func stopsAtTheEnd() throws {
    let braid = try BraidExecutable()
    defer { braid.remove() }
    let model = try publish(braid)
    var state = model.initialState(batch: 1)
    let text = try model.generate(after: [3, 1, 4, 1, 5, 9], count: 6, state: &state)
    try braid.write(
      "model/config.json",
      text: Self.document.replacing("\"eos_token_id\": 2", with: "\"eos_token_id\": [\(text[2])]"))
    let arguments = ["lm", "generate", "-m", "model", "--tokens", "ids", "--count", "6"]
    #expect(try ids(braid.run(arguments)) == text)
    let end = text.firstIndex(of: text[2])! + 1
    #expect(try ids(braid.run(arguments + ["--stop-at-eos"])) == Array(text.prefix(end)))
  }

  /// The codes of the command line, of bad data and of missing files; nothing on standard output, no files left.
  @Test func failures() throws {
    let braid = try BraidExecutable()
    defer { braid.remove() }
    _ = try publish(braid)
    try braid.write("words", text: "1 two 3")
    try braid.write("none", text: " \n")
    try braid.write("large", text: "1 20")
    try FileManager.default.createDirectory(
      atPath: braid.folder + "/strange", withIntermediateDirectories: true)
    try braid.write("strange/config.json", text: "{\"model_type\": \"gpt9\"}")
    try braid.write("state", text: "no state")
    let files = braid.files()
    let logits = ["lm", "logits", "-o", "out.npy"]
    let generate = ["lm", "generate", "-m", "model"]
    for (arguments, code, says) in [
      (logits + ["--model", "model", "--tokens", "words"], 65, "two"),
      (logits + ["--model", "model", "--tokens", "none"], 65, "no token ids"),
      (logits + ["--model", "model", "--tokens", "large"], 65, "20"),
      (logits + ["--model", "model", "--tokens", "absent"], 66, "absent"),
      (logits + ["--model", "nowhere", "--tokens", "ids"], 66, "nowhere"),
      (logits + ["--model", "strange", "--tokens", "ids"], 65, "gpt9"),
      (logits + ["--tokens", "ids"], 64, "--model"),
      (["lm", "logits", "-o", "no/where.npy", "-m", "model", "--tokens", "ids"], 73, "no/where"),
      (generate + ["--count", "3"], 64, "--tokens"),
      (generate + ["--tokens", "ids", "--count", "-1"], 64, "count"),
      (generate + ["--tokens", "ids", "--count", "1", "--top-p", "2"], 64, "top-p"),
      (generate + ["--tokens", "ids", "--count", "1", "--greedy", "--seed", "1"], 64, "greedy"),
      (generate + ["--tokens", "large", "--count", "1"], 65, "20"),
      (generate + ["--state-in", "state", "--count", "1"], 65, "state"),
      (generate + ["--state-in", "absent", "--count", "1"], 66, "absent"),
      (generate + ["--tokens", "ids", "--count", "1", "--weights-format", "q3"], 64, "q3"),
      (["lm", "bench", "--layout", "bamba-326m", "-m", "model"], 64, "--layout"),
    ] as [([String], Int32, String)] {
      let run = try braid.run(arguments)
      #expect(run.status == code && run.output.isEmpty, "\(arguments): \(run.status) \(run.errors)")
      #expect(run.errors.contains(says), "\(arguments): \(run.errors)")
    }
    #expect(braid.files() == files)
  }

  @Test func bench() throws {
    let braid = try BraidExecutable()
    defer { braid.remove() }
    _ = try publish(braid)
    let run = try braid("lm", "bench", "-m", "model", "--prefill", "32", "--decode", "4", "--json")
    let result = try #require(try run.events().last)
    #expect(run.status == 0 && result["event"] == .string("result"), "\(run.errors)")
    #expect(result["prefill_tokens"] == .integer(32) && result["decode_seconds_per_token"] != .null)
  }
}
