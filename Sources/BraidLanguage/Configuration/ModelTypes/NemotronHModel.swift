import BraidMixers

extension HybridLMConfiguration {
  /// Nemotron-H: layers that are Mamba-2, attention, a feed-forward layer or experts, in a pattern.
  static func nemotronH(_ r: ConfigurationReader) throws -> HybridLMConfiguration {
    let channels = try r.integer("hidden_size", default: 4096)
    let norm = try r.norm(channels, "layer_norm_epsilon", default: 1e-5)
    let types = try r.nemotronLayerTypes()
    let heads = try r.heads(channels: channels, count: 32, keyCount: 8, width: 128)
    let attention = GroupedQueryAttention.Configuration(
      AttentionHeads(
        channels: channels, heads: heads.count, keyHeads: heads.keyCount, headWidth: heads.width),
      window: nil)
    try r.requireSiLU("mamba_hidden_act")
    let shape = try r.mamba2Shape(
      channels: channels, heads: ("mamba_num_heads", 128), width: ("mamba_head_dim", 64),
      groups: (r.has("mamba_n_groups") ? "mamba_n_groups" : "n_groups", 8), state: ("ssm_state_size", 128))
    let least = try r.float("mamba_dt_min", "time_step_min", default: 0.001)
    try r.require(least >= 0 && least.isFinite, "time_step_min", "expected a number from 0 on")
    let mamba = try r.mamba2(
      shape, channels: channels, kernel: r.has("mamba_d_conv") ? "mamba_d_conv" : "conv_kernel",
      bias: "use_bias", convolutionBias: r.has("mamba_conv_bias") ? "mamba_conv_bias" : "use_conv_bias",
      epsilon: norm.epsilon, stepLimit: Float(least)...Float.infinity)
    let function = try r.function("mlp_hidden_act", default: "relu2")
    let bias = try r.bool("mlp_bias", default: false)
    let feedForward = FeedForward.Configuration(
      channels: channels, width: try r.integer("intermediate_size", default: 21504), function: function,
      layout: .ungated, bias: bias)
    var mixture: MixtureOfExperts.Configuration?
    if types.contains("moe") {
      let experts = try r.integer("n_routed_experts", "num_local_experts", default: 8)
      try r.requireFew(experts: experts, layers: types.count, key: "n_routed_experts")
      let latent = try r.optionalInteger("moe_latent_size")
      var (expert, shared) = (feedForward, feedForward)
      expert.channels = latent ?? channels
      expert.width = try r.integer("moe_intermediate_size", default: 7688)
      expert.bias = false
      shared.width = try r.integer("moe_shared_expert_intermediate_size", default: 7688)
      mixture = MixtureOfExperts.Configuration(
        router: try r.groupedRouter(
          channels: channels, experts: experts, active: try r.integer("num_experts_per_tok", default: 2),
          groups: try r.integer("n_group", default: 1),
          renormalizes: try r.bool("norm_topk_prob", default: true), scale: 1),
        expert: expert, sharedExpert: shared, latentInput: latent.map { _ in "fc1_latent_proj" },
        latentOutput: latent.map { _ in "fc2_latent_proj" }, latentBias: bias)
    }
    return HybridLMConfiguration(
      modelType: try r.string("model_type"), vocabulary: try r.integer("vocab_size", default: 131_072),
      channels: channels, names: .backbone,
      blocks: types.map { type in
        let kind: ResidualStep.Part.Kind =
          switch type {
          case "linear_attention": .mixer(mamba)
          case "full_attention": .mixer(.attention(attention))
          case "moe": .experts(mixture!)
          default: .feedForward(feedForward)
          }
        return .init([.init(norm: .init("norm", norm), parts: [.init("mixer", kind)])])
      },
      finalNorm: norm, tiesEmbedding: try r.bool("tie_word_embeddings", default: false),
      endOfSequence: try r.endOfSequence(default: [2]),
      keyAliases: [.init(published: "model.", own: "backbone.")])
  }
}

extension ConfigurationReader {
  /// The kinds of Nemotron-H's layers: a list, or the older pattern of letters.
  fileprivate func nemotronLayerTypes() throws -> [String] {
    let known = ["linear_attention", "full_attention", "mlp", "moe"]
    if let types = try layerTypes("layers_block_type", "layer_types", count: nil, known: known) {
      return types
    }
    let key = "hybrid_override_pattern"
    guard has(key) else { return ["linear_attention", "moe", "full_attention", "mlp"] }
    let pattern = try string(key)
    do {
      return try LayerPattern(
        pattern, letters: ["M": "linear_attention", "*": "full_attention", "-": "mlp", "E": "moe"]
      ).layers
    } catch {
      throw failure(key, error.description)
    }
  }
}
