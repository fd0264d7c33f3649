import BraidCheckpoint
import BraidNN
import BraidTensor

/// Models of random weights, for measurements.
public enum SyntheticLayout: String, CaseIterable, Sendable {
  /// 326 M parameters in Bamba's layout: 20 layers, 3 of them attention, the rest Mamba-2.
  case bamba326M = "bamba-326m"

  /// The model's config.json.
  public var document: String {
    switch self {
    case .bamba326M:
      """
      {"model_type": "bamba", "vocab_size": 32000, "hidden_size": 1024, "intermediate_size": 2816,
       "num_hidden_layers": 20, "attn_layer_indices": [5, 11, 17], "num_attention_heads": 16,
       "num_key_value_heads": 4, "mamba_n_heads": 32, "mamba_d_head": 64, "mamba_n_groups": 1,
       "mamba_d_state": 128, "mamba_d_conv": 4, "mamba_expand": 2, "tie_word_embeddings": true,
       "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}}
      """
    }
  }

  /// The model with random weights, which a seed determines.
  public func model(storedAs format: WeightFormat = .f32, seed: UInt64 = 1) throws -> HybridLM {
    let model = try HybridLM(
      HybridLMConfiguration(JSONValue(parsing: document, source: rawValue), path: rawValue))
    model.store.initialize(seed: seed)
    model.hold(as: format)
    return model
  }
}
