import BraidLanguage
import Foundation
import Testing

/// A configuration with some keys replaced (nil takes one away).
private func changed(_ name: String, _ changes: [String: String?]) throws -> JSONValue {
  let text = try String(contentsOfFile: PublishedFixture(name).configurationPath, encoding: .utf8)
  guard case .object(var members) = try JSONValue(parsing: text) else { return .null }
  for (key, value) in changes {
    members.removeAll { $0.name == key }
    if let value { members.append(.init(name: key, value: try JSONValue(parsing: value))) }
  }
  return .object(members)
}

@Suite struct ConfigurationTests {
  /// What is said of a configuration that cannot be: the key, and something of the value or of what is known.
  static let wrong: [(model: String, key: String, value: String?, says: [String])] = [
    ("bamba", "model_type", "\"gpt9\"", ["model_type", "gpt9", "bamba", "zamba2"]),
    ("bamba", "model_type", nil, ["model_type", "absent", "nemotron_h"]),
    ("bamba", "hidden_size", "\"wide\"", ["hidden_size", "wide", "whole number"]),
    ("bamba", "hidden_size", "-32", ["hidden_size", "-32"]),
    ("bamba", "hidden_size", "4611686018427387904", ["hidden_size", "4611686018427387904"]),
    ("bamba", "num_hidden_layers", "1000000000", ["num_hidden_layers", "1000000000"]),
    ("bamba", "num_key_value_heads", "3", ["num_key_value_heads", "3"]),
    ("bamba", "attn_layer_indices", "[1, 9]", ["attn_layer_indices", "9", "4 layers"]),
    ("bamba", "mamba_d_head", "9", ["mamba_d_head", "9"]),
    ("bamba", "mamba_n_groups", "3", ["mamba_n_groups", "3"]),
    ("bamba", "hidden_act", "\"sine\"", ["hidden_act", "sine", "silu"]),
    ("bamba", "rms_norm_eps", "0", ["rms_norm_eps", "0"]),
    ("bamba", "time_step_limit", "[1, 0]", ["time_step_limit", "1"]),
    ("bamba", "time_step_limit", "[0]", ["time_step_limit", "2 numbers"]),
    (
      "bamba", "rope_parameters", "{\"rope_type\": \"curved\"}",
      ["rope_parameters.rope_type", "curved", "yarn"]
    ),
    ("bamba", "rope_parameters", "[]", ["rope_parameters", "object"]),
    ("bamba", "tie_word_embeddings", "1", ["tie_word_embeddings", "true or false"]),
    ("lfm2", "layer_types", "[\"conv\"]", ["layer_types", "4 layers"]),
    (
      "lfm2", "layer_types", "[\"conv\", \"conv\", \"conv\", \"whirl\"]",
      ["layer_types", "whirl", "full_attention"]
    ),
    ("lfm2_moe", "layer_types", nil, ["layer_types"]),
    ("lfm2_moe", "num_experts_per_tok", "5", ["num_experts_per_tok", "5", "4 experts"]),
    ("jamba", "attn_layer_offset", "2", ["attn_layer_offset", "2", "period"]),
    ("jamba", "num_experts", "4000000", ["num_experts", "4000000"]),
    ("kimi_linear", "topk_group", "2", ["topk_group", "2"]),
    ("nemotron_h", "layers_block_type", "[\"mlp\", \"swirl\"]", ["layers_block_type", "swirl", "moe"]),
    ("granitemoehybrid", "logits_scaling", "0", ["logits_scaling", "0"]),
    ("minimax", "num_attention_heads", "5", ["num_", "heads"]),
    ("falcon_h1", "ssm_multipliers", "[1, 1]", ["ssm_multipliers", "5 numbers"]),
    ("zamba2", "layers_block_type", "[\"hybrid\", \"mamba\"]", ["layers_block_type", "4 layers"]),
    ("qwen3_next", "linear_num_value_heads", "3", ["linear_num_value_heads", "3"]),
  ]

  @Test(arguments: wrong.indices) func saysWhatIsWrong(_ index: Int) throws {
    let (model, key, value, says) = Self.wrong[index]
    let document = try changed(model, [key: value])
    let error = try #require(throws: LanguageModelError.self) { try HybridLMConfiguration(document) }
    for text in says { #expect("\(error)".contains(text), "\(error)") }
  }

  /// The keys of the first published files say the same as today's.
  static let older: [(model: String, today: [String: String?], older: [String: String?])] = [
    (
      "nemotron_h", ["layers_block_type": "[\"mamba\", \"mlp\", \"attention\", \"moe\"]"],
      ["layers_block_type": nil, "hybrid_override_pattern": "\"M-*E\"", "num_hidden_layers": "4"]
    ),
    (
      "nemotron_h", [:],
      [
        "n_groups": nil, "mamba_n_groups": "2", "conv_kernel": nil, "mamba_d_conv": "4", "use_conv_bias": nil,
        "mamba_conv_bias": "true",
      ]
    ),
    (
      "kimi_linear", [:],
      [
        "layer_types": nil, "mlp_layer_types": nil, "first_k_dense_replace": "1", "linear_head_dim": nil,
        "linear_num_heads": nil, "linear_conv_kernel_dim": nil,
        "linear_attn_config":
          "{\"full_attn_layers\": [4], \"kda_layers\": [1, 2, 3], \"head_dim\": 8, \"num_heads\": 4, \"short_conv_kernel_size\": 4}",
      ]
    ),
    ("qwen3_next", [:], ["layer_types": nil, "full_attention_interval": "4"]),
    (
      "qwen3_next", ["rope_parameters": "{\"rope_theta\": 5e6, \"partial_rotary_factor\": 0.5}"],
      [
        "rope_parameters": nil, "rope_theta": "5000000", "partial_rotary_factor": "0.5",
        "rope_scaling": "null",
      ]
    ),
    (
      "bamba", ["rope_parameters": "{\"rope_type\": \"linear\", \"factor\": 2, \"rope_theta\": 10000}"],
      [
        "rope_parameters": nil, "rope_scaling": "{\"type\": \"linear\", \"factor\": 2}",
        "rope_theta": "10000.0",
      ]
    ),
    ("minimax", [:], ["layer_types": nil, "attn_type_list": "[0, 1, 0, 1]"]),
    (
      "granitemoehybrid", [:],
      [
        "layer_types": "[\"mamba\", \"attention\", \"mamba\", \"attention\"]",
        "position_embedding_type": "\"nope\"",
      ]
    ),
    (
      "lfm2", [:],
      ["layer_types": nil, "full_attn_idxs": "[1]", "tie_word_embeddings": nil, "tie_embedding": "false"]
    ),
    ("lfm2", [:], ["intermediate_size": nil, "block_ff_dim": "48"]),
    ("zamba2", [:], ["layers_block_type": "[\"mamba\", \"hybrid\", \"mamba\", \"hybrid\"]"]),
    ("mamba2", [:], ["time_step_limit": "[0.0, {\"__float__\": \"Infinity\"}]"]),
    ("bamba", ["mamba_d_head": "8"], ["mamba_d_head": "\"auto\""]),
    ("jamba", ["mamba_dt_rank": "2"], ["mamba_dt_rank": "\"auto\""]),
    ("mamba", ["eos_token_id": "[2]"], ["eos_token_id": "2"]),
  ]

  @Test(arguments: older.indices) func olderKeysSayTheSame(_ index: Int) throws {
    let (model, today, older) = Self.older[index]
    #expect(
      try HybridLMConfiguration(changed(model, today)) == HybridLMConfiguration(changed(model, older)))
  }

  @Test func bareInfinityIsRead() throws {
    let path = NSTemporaryDirectory() + "braid-\(UUID().uuidString).json"
    defer { try? FileManager.default.removeItem(atPath: path) }
    let fixture = try PublishedFixture("mamba2")
    let text = try String(contentsOfFile: fixture.configurationPath, encoding: .utf8)
    let bare = text.replacing(/\{\s*"__float__": "Infinity"\s*\}/, with: "Infinity")
    #expect(bare != text)
    try bare.write(toFile: path, atomically: true, encoding: .utf8)
    #expect(
      try HybridLMConfiguration(contentsOf: path)
        == HybridLMConfiguration(contentsOf: fixture.configurationPath))
  }

  @Test(arguments: ["", "{", "[]", "\u{0}\u{1}", "{\"model_type\": Infinity}", "{\"model_type\": \"bamba\""])
  func garbageIsAnError(_ text: String) throws {
    let path = NSTemporaryDirectory() + "braid-\(UUID().uuidString).json"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try text.write(toFile: path, atomically: true, encoding: .utf8)
    #expect(throws: (any Error).self) { try HybridLMConfiguration(contentsOf: path) }
  }

  @Test func configurationsSurviveCoding() throws {
    for name in PublishedFixture.names {
      let configuration = try HybridLMConfiguration(contentsOf: PublishedFixture(name).configurationPath)
      let data = try JSONEncoder().encode(configuration)
      #expect(try JSONDecoder().decode(HybridLMConfiguration.self, from: data) == configuration, "\(name)")
    }
  }
}
