import BraidMixers

extension HybridLMConfiguration {
  /// Bamba: Mamba-2, and attention in some layers, each before a feed-forward layer.
  static func bamba(_ r: ConfigurationReader) throws -> HybridLMConfiguration {
    let channels = try r.integer("hidden_size", default: 4096)
    let layers = try r.layerCount(default: 32)
    try r.requireSiLU()
    let norm = try r.norm(channels, "rms_norm_eps", default: 1e-5)
    let attending = Set(try r.integers("attn_layer_indices") ?? [])
    try r.require(
      attending.allSatisfy { $0 >= 0 && $0 < layers }, "attn_layer_indices", "there are \(layers) layers")
    let heads = try r.heads(channels: channels, count: 32, keyCount: 8)
    let attention = GroupedQueryAttention.Configuration(
      AttentionHeads(
        channels: channels, heads: heads.count, keyHeads: heads.keyCount, headWidth: heads.width,
        bias: try r.bool("attention_bias", default: false),
        rotary: try r.rotary(headWidth: heads.width, partial: 0.5)))
    let mamba = try r.bambaMixer(channels: channels, epsilon: norm.epsilon)
    let feedForward = FeedForward.Configuration(
      channels: channels, width: try r.integer("intermediate_size", default: 14336),
      bias: try r.bool("mlp_bias", default: false))
    return HybridLMConfiguration(
      modelType: try r.string("model_type"), vocabulary: try r.integer("vocab_size", default: 128_000),
      channels: channels, names: .finalLayerNorm,
      blocks: (0..<layers).map { layer in
        .bamba(
          norm,
          mixers: [
            attending.contains(layer)
              ? .init("self_attn", .mixer(.attention(attention))) : .init("mamba", .mixer(mamba))
          ],
          then: .feedForward(feedForward))
      },
      finalNorm: norm, tiesEmbedding: try r.bool("tie_word_embeddings", default: false),
      endOfSequence: try r.endOfSequence(default: [2]))
  }

  /// Granite 4: Mamba-2 and attention before experts and a feed-forward layer for all, with multipliers.
  static func graniteMoEHybrid(_ r: ConfigurationReader) throws -> HybridLMConfiguration {
    let channels = try r.integer("hidden_size", default: 4096)
    let layers = try r.layerCount(default: 32)
    let function = try r.function()
    let norm = try r.norm(channels, "rms_norm_eps", default: 1e-6)
    let types =
      try r.layerTypes(
        "layer_types", "layers_block_type", count: layers, known: ["linear_attention", "full_attention"])
      ?? Array(repeating: "linear_attention", count: layers)
    let heads = try r.heads(channels: channels, count: 32, keyCount: nil)
    let position = try r.string("position_embedding_type", default: "nope")
    let attention = GroupedQueryAttention.Configuration(
      AttentionHeads(
        channels: channels, heads: heads.count, keyHeads: heads.keyCount, headWidth: heads.width,
        bias: try r.bool("attention_bias", default: false),
        rotary: position == "rope" ? try r.rotary(headWidth: heads.width) : nil,
        scale: try r.factor("attention_multiplier")))
    var mamba: MixerDescription?
    if types.contains("linear_attention") {
      try r.requireSiLU()
      mamba = try r.bambaMixer(channels: channels, epsilon: norm.epsilon)
    }
    let experts = try r.integer("num_local_experts", default: 8, in: 0...1 << 16)
    let shared = FeedForward.Configuration(
      channels: channels, width: try r.integer("shared_intermediate_size", default: 1024), function: function,
      layout: .fused(gateAndUp: "input_linear", down: "output_linear"))
    var parts = [ResidualStep.Part("shared_mlp", .feedForward(shared))]
    if experts > 0 {
      try r.requireFew(experts: experts, layers: layers, key: "num_local_experts")
      let active = try r.integer("num_experts_per_tok", default: 2)
      try r.require(active <= experts, "num_experts_per_tok", "there are \(experts) experts")
      var expert = shared
      expert.width = try r.integer("intermediate_size", default: 11008)
      parts.insert(
        .init(
          "block_sparse_moe",
          .experts(
            MixtureOfExperts.Configuration(
              router: .init(
                channels: channels, experts: experts, active: active, scoring: .softmaxOfChosen,
                weight: "router.layer.weight"),
              expert: expert, stacksExperts: true))), at: 0)
    }
    let residual = try r.factor("residual_multiplier")
    let divisor = try r.factor("logits_scaling")
    try r.require(divisor != 0, "logits_scaling", "logits cannot be divided by it")
    return HybridLMConfiguration(
      modelType: try r.string("model_type"), vocabulary: try r.integer("vocab_size", default: 32000),
      channels: channels,
      blocks: types.map { type in
        let mixer =
          type == "full_attention"
          ? ResidualStep.Part("self_attn", .mixer(.attention(attention)))
          : ResidualStep.Part("mamba", .mixer(mamba!))
        return .init([
          .init(norm: .init("input_layernorm", norm), parts: [mixer], outputScale: residual),
          .init(norm: .init("post_attention_layernorm", norm), parts: parts, outputScale: residual),
        ])
      },
      finalNorm: norm, tiesEmbedding: try r.bool("tie_word_embeddings", default: false),
      embeddingScale: try r.factor("embedding_multiplier"), logitsScale: 1 / divisor,
      endOfSequence: try r.endOfSequence(default: [2]))
  }

  /// Falcon-H1: Mamba-2 and attention beside each other in every layer, with multipliers everywhere.
  static func falconH1(_ r: ConfigurationReader) throws -> HybridLMConfiguration {
    let channels = try r.integer("hidden_size", default: 4096)
    let layers = try r.layerCount(default: 32)
    try r.requireSiLU()
    let norm = try r.norm(channels, "rms_norm_eps", default: 1e-5)
    let heads = try r.heads(channels: channels, count: 32, keyCount: 8)
    let bias = try r.bool("attention_bias", default: false)
    let attention = GroupedQueryAttention.Configuration(
      AttentionHeads(
        channels: channels, heads: heads.count, keyHeads: heads.keyCount, headWidth: heads.width, bias: bias,
        rotary: try r.rotary(headWidth: heads.width), keyMultiplier: try r.factor("key_multiplier")))
    let factors = try r.factors("ssm_multipliers", count: 5)
    let normalizes = try r.bool("mamba_rms_norm", default: false)
    let normFirst = try r.bool("mamba_norm_before_gate", default: true)
    let outputBias = try r.bool("projectors_bias", default: false)
    let inner =
      r.members("mamba_d_ssm") && !r.has("mamba_d_ssm") ? nil : try r.integer("mamba_d_ssm", default: 1024)
    let mamba = try r.bambaMixer(channels: channels, epsilon: norm.epsilon, inner: inner) {
      $0.multipliers = factors.allSatisfy { $0 == 1 } ? nil : factors
      $0.normalization = normalizes ? (normFirst ? .beforeGate : .afterGate) : .none
      $0.outputBias = outputBias
    }
    let scales = try r.factors("mlp_multipliers", count: 2)
    let feedForward = FeedForward.Configuration(
      channels: channels, width: try r.integer("intermediate_size", default: 14336),
      bias: try r.bool("mlp_bias", default: false), gateScale: scales[0], outputScale: scales[1])
    let block = HybridBlock.Configuration.bamba(
      norm,
      mixers: [
        .init(
          "mamba", .mixer(mamba), inputScale: try r.factor("ssm_in_multiplier"),
          outputScale: try r.factor("ssm_out_multiplier")),
        .init(
          "self_attn", .mixer(.attention(attention)), inputScale: try r.factor("attention_in_multiplier"),
          outputScale: try r.factor("attention_out_multiplier")),
      ],
      then: .feedForward(feedForward))
    return HybridLMConfiguration(
      modelType: try r.string("model_type"), vocabulary: try r.integer("vocab_size", default: 128_000),
      channels: channels, names: .finalLayerNorm, blocks: Array(repeating: block, count: layers),
      finalNorm: norm,
      tiesEmbedding: try r.bool("tie_word_embeddings", default: false),
      embeddingScale: try r.factor("embedding_multiplier"), logitsScale: try r.factor("lm_head_multiplier"),
      endOfSequence: try r.endOfSequence(default: [2]))
  }
}

extension HybridBlock.Configuration {
  /// The block of Bamba, Falcon-H1 and Jamba: mixers on the normalised input, then a feed-forward layer or experts.
  static func bamba(
    _ norm: Normalization, mixers: [ResidualStep.Part], then feedForward: ResidualStep.Part.Kind
  ) -> Self {
    .init([
      .init(norm: .init("input_layernorm", norm), parts: mixers),
      .init(norm: .init("pre_ff_layernorm", norm), parts: [.init("feed_forward", feedForward)]),
    ])
  }
}

extension HybridLMConfiguration.Names {
  /// The usual names but for the last norm: those of Bamba, Falcon-H1 and Jamba.
  static var finalLayerNorm: Self {
    var names = Self()
    names.finalNorm = "model.final_layernorm"
    return names
  }
}

extension ConfigurationReader {
  func norm(_ channels: Int, _ key: String, default epsilon: Float, unitOffset: Bool = false) throws
    -> Normalization
  {
    .init(channels: channels, epsilon: try self.epsilon(key, default: epsilon), unitOffset: unitOffset)
  }

  /// The Mamba-2 layer of Bamba's configuration keys.
  func bambaMixer(
    channels: Int, epsilon: Float, inner: Int? = nil,
    change: (inout Mamba2.Configuration) -> Void = { _ in }
  ) throws -> MixerDescription {
    let shape = try mamba2Shape(
      channels: channels, heads: ("mamba_n_heads", 128), width: ("mamba_d_head", nil),
      groups: ("mamba_n_groups", 1), state: ("mamba_d_state", 256), expansion: "mamba_expand", inner: inner)
    return try mamba2(
      shape, channels: channels, kernel: "mamba_d_conv", bias: "mamba_proj_bias",
      convolutionBias: "mamba_conv_bias", epsilon: epsilon, stepLimit: try stepLimit("time_step_limit"),
      change: change)
  }
}
