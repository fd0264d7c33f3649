import BraidMixers

extension HybridLMConfiguration {
  /// Qwen3-Next: gated delta nets, and gated attention in every fourth layer, before experts.
  static func qwen3Next(_ r: ConfigurationReader) throws -> HybridLMConfiguration {
    let channels = try r.integer("hidden_size", default: 2048)
    let layers = try r.layerCount(default: 48)
    try r.requireSiLU()
    let norm = try r.norm(channels, "rms_norm_eps", default: 1e-6, unitOffset: true)
    let interval = try r.integer("full_attention_interval", default: 4)
    let types =
      try r.layerTypes("layer_types", count: layers, known: ["linear_attention", "full_attention"])
      ?? (0..<layers).map { ($0 + 1) % interval == 0 ? "full_attention" : "linear_attention" }
    let heads = try r.heads(channels: channels, count: 16, keyCount: 2, width: 256)
    let attention = GroupedQueryAttention.Configuration(
      AttentionHeads(
        channels: channels, heads: heads.count, keyHeads: heads.keyCount, headWidth: heads.width,
        bias: try r.bool("attention_bias", default: false),
        rotary: try r.rotary(headWidth: heads.width, partial: 0.25),
        norm: .init(.head, epsilon: norm.epsilon, unitOffset: true), gated: true))
    let delta = try r.gatedDelta(
      GatedDeltaNet.Configuration(
        channels: channels, keyHeads: 16, valueHeads: 32, keyWidth: 128, valueWidth: 128, layout: .joined,
        normEpsilon: norm.epsilon))

    let feedForward = FeedForward.Configuration(
      channels: channels, width: try r.integer("intermediate_size", default: 5632))
    let experts = try r.integer("num_experts", default: 512, in: 0...1 << 16)
    try r.requireFew(experts: experts, layers: layers, key: "num_experts")
    let active = try r.integer("num_experts_per_tok", default: 10)
    try r.require(experts == 0 || active <= experts, "num_experts_per_tok", "there are \(experts) experts")
    var (expert, shared) = (feedForward, feedForward)
    expert.width = try r.integer("moe_intermediate_size", default: 512)
    shared.width = try r.integer("shared_expert_intermediate_size", default: 512)
    let mixture = MixtureOfExperts.Configuration(
      router: .init(
        channels: channels, experts: experts, active: active,
        renormalizes: try r.bool("norm_topk_prob", default: true)),
      expert: expert, sharedExpert: shared, shared: "shared_expert", sharedGate: "shared_expert_gate")
    let period = try r.integer("decoder_sparse_step", default: 1)
    let dense = Set(try r.integers("mlp_only_layers") ?? [])
    return HybridLMConfiguration(
      modelType: try r.string("model_type"), vocabulary: try r.integer("vocab_size", default: 151_936),
      channels: channels,
      blocks: types.enumerated().map { layer, type in
        let routes = experts > 0 && !dense.contains(layer) && (layer + 1) % period == 0
        return .init([
          .init(
            norm: .init("input_layernorm", norm),
            parts: [
              type == "full_attention"
                ? .init("self_attn", .mixer(.attention(attention))) : .init("linear_attn", .mixer(delta))
            ]),
          .init(
            norm: .init("post_attention_layernorm", norm),
            parts: [.init("mlp", routes ? .experts(mixture) : .feedForward(feedForward))]),
        ])
      },
      finalNorm: norm, tiesEmbedding: try r.bool("tie_word_embeddings", default: false),
      endOfSequence: try r.endOfSequence(default: []))
  }

  /// OLMo Hybrid: gated delta nets behind a norm, and attention before one in every fourth layer.
  static func olmoHybrid(_ r: ConfigurationReader) throws -> HybridLMConfiguration {
    let channels = try r.integer("hidden_size", default: 3840)
    let layers = try r.layerCount(default: 32)
    try r.requireSiLU()
    let norm = try r.norm(channels, "rms_norm_eps", default: 1e-6)
    var types =
      try r.layerTypes("layer_types", count: layers, known: ["linear_attention", "full_attention"])
      ?? (0..<layers).map { $0 % 4 == 3 ? "full_attention" : "linear_attention" }
    if !r.has("layer_types"), !types.contains("full_attention") { types[layers - 1] = "full_attention" }
    let heads = try r.heads(channels: channels, count: 30, keyCount: nil)
    // Published models have no rotary embedding: "rope_parameters" is null, or its theta is.
    let own = try r.object("rope_scaling") ?? r.object("rope_parameters")
    let hasTheta = own?.has("rope_theta") ?? false || r.has("rope_theta")
    let isOff =
      !hasTheta
      && (own?.members("rope_theta") ?? false || r.members("rope_theta") || r.members("rope_parameters"))
    let attention = GroupedQueryAttention.Configuration(
      AttentionHeads(
        channels: channels, heads: heads.count, keyHeads: heads.keyCount, headWidth: heads.width,
        bias: try r.bool("attention_bias", default: false),
        rotary: isOff ? nil : try r.rotary(headWidth: heads.width),
        norm: .init(.layer, epsilon: norm.epsilon)))
    let keyHeads = try r.integer("linear_num_key_heads", default: heads.count)
    let keyWidth = try r.integer("linear_key_head_dim", default: max(1, 3 * channels / (4 * keyHeads)))
    let delta = try r.gatedDelta(
      GatedDeltaNet.Configuration(
        channels: channels, keyHeads: keyHeads, valueHeads: heads.count, keyWidth: keyWidth,
        valueWidth: 2 * keyWidth, layout: .separate,
        allowsNegativeEigenvalues: try r.bool("linear_allow_neg_eigval", default: true), normEpsilon: 1e-5))
    let feedForward = ResidualStep.Part(
      "mlp",
      .feedForward(.init(channels: channels, width: try r.integer("intermediate_size", default: 11008))))
    return HybridLMConfiguration(
      modelType: try r.string("model_type"), vocabulary: try r.integer("vocab_size", default: 100_352),
      channels: channels,
      blocks: types.map { type in
        type == "full_attention"
          ? .init([
            .init(
              norm: nil, parts: [.init("self_attn", .mixer(.attention(attention)))],
              outputNorm: .init("feedforward_layer_norm", norm)),
            .init(norm: nil, parts: [feedForward], outputNorm: .init("post_feedforward_layernorm", norm)),
          ])
          : .init([
            .init(norm: .init("attention_layer_norm", norm), parts: [.init("linear_attn", .mixer(delta))]),
            .init(norm: .init("feedforward_layer_norm", norm), parts: [feedForward]),
          ])
      },
      finalNorm: norm, tiesEmbedding: try r.bool("tie_word_embeddings", default: false),
      endOfSequence: try r.endOfSequence(default: [100_257]),
      keyAliases: [
        .init(published: ".input_layernorm.", own: ".attention_layer_norm."),
        .init(published: ".post_attention_layernorm.", own: ".feedforward_layer_norm."),
      ])
  }

  /// Kimi Linear: Kimi delta attention, and latent attention without positions in every fourth layer, before experts.
  static func kimiLinear(_ r: ConfigurationReader) throws -> HybridLMConfiguration {
    let channels = try r.integer("hidden_size", default: 2304)
    let layers = try r.layerCount(default: 27)
    try r.requireSiLU()
    let norm = try r.norm(channels, "rms_norm_eps", default: 1e-5)
    let linear = try r.object("linear_attn_config")
    let heads = try r.integer("num_attention_heads", default: 32)
    let attention = MultiHeadLatentAttention.Configuration(
      channels: channels, heads: heads, latentWidth: try r.integer("kv_lora_rank", default: 512),
      keyWidth: try r.integer("qk_nope_head_dim", default: 128),
      rotaryWidth: try r.integer("qk_rope_head_dim", default: 64, in: 0...1 << 20),
      valueWidth: try r.integer("v_head_dim", default: 128),
      queryLatentWidth: try r.optionalInteger("q_lora_rank"),
      bias: try r.bool("attention_bias", default: false),
      epsilon: 1e-6)
    let deltaHeads = try linear?.optionalInteger("num_heads") ?? r.integer("linear_num_heads", default: 32)
    let deltaWidth = try linear?.optionalInteger("head_dim") ?? r.integer("linear_head_dim", default: 128)
    let kernel =
      try linear?.optionalInteger("short_conv_kernel_size", in: 1...1024)
      ?? r.integer("linear_conv_kernel_dim", default: 4, in: 1...1024)
    let delta = MixerDescription.kimiDelta(
      .init(
        channels: channels, heads: deltaHeads, headWidth: deltaWidth, kernelSize: kernel,
        normEpsilon: norm.epsilon))

    let types = try r.kimiLayerTypes(layers, linear)
    let dense = try r.integer("first_k_dense_replace", default: 1, in: 0...1 << 20)
    let kinds =
      try r.layerTypes("mlp_layer_types", count: layers, known: ["dense", "sparse"])
      ?? (0..<layers).map { $0 < dense ? "dense" : "sparse" }
    let feedForward = FeedForward.Configuration(
      channels: channels, width: try r.integer("intermediate_size", default: 9216))
    let experts = try r.integer("num_experts", "num_local_experts", default: 256)
    try r.requireFew(experts: experts, layers: layers, key: "num_experts")
    let expertWidth = try r.integer("moe_intermediate_size", default: 1024)
    var shared = feedForward
    shared.width =
      expertWidth * (try r.integer("num_shared_experts", "n_shared_experts", default: 1, in: 1...1024))
    let mixture = MixtureOfExperts.Configuration(
      router: try r.groupedRouter(
        channels: channels, experts: experts,
        active: try r.integer("num_experts_per_token", "num_experts_per_tok", default: 8),
        groups: try r.integer("num_expert_group", "n_group", default: 1),
        renormalizes: try r.bool("moe_renormalize", "norm_topk_prob", default: true), scale: 2.446),
      expert: .init(channels: channels, width: expertWidth, layout: .numbered), sharedExpert: shared)
    return HybridLMConfiguration(
      modelType: try r.string("model_type"), vocabulary: try r.integer("vocab_size", default: 163_840),
      channels: channels,
      blocks: zip(types, kinds).map { type, kind in
        .init([
          .init(
            norm: .init("input_layernorm", norm),
            parts: [
              .init("self_attn", .mixer(type == "full_attention" ? .latentAttention(attention) : delta))
            ]),
          .init(
            norm: .init("post_attention_layernorm", norm),
            parts: [
              .init("block_sparse_moe", kind == "sparse" ? .experts(mixture) : .feedForward(feedForward))
            ]),
        ])
      },
      finalNorm: norm, tiesEmbedding: try r.bool("tie_word_embeddings", default: false),
      endOfSequence: try r.endOfSequence(default: [163_586]))
  }
}

extension ConfigurationReader {
  /// A gated delta net with the sizes that are given here in the place of the defaults.
  fileprivate func gatedDelta(_ defaults: GatedDeltaNet.Configuration) throws -> MixerDescription {
    var c = defaults
    c.keyHeads = try integer("linear_num_key_heads", default: c.keyHeads)
    c.valueHeads = try integer("linear_num_value_heads", default: c.valueHeads)
    try require(
      c.valueHeads % c.keyHeads == 0, "linear_num_value_heads",
      "expected a multiple of linear_num_key_heads, \(c.keyHeads)")
    c.keyWidth = try integer("linear_key_head_dim", default: c.keyWidth)
    c.valueWidth = try integer("linear_value_head_dim", default: c.valueWidth)
    c.kernelSize = try integer("linear_conv_kernel_dim", default: c.kernelSize, in: 1...1024)
    return .gatedDelta(c)
  }

  /// The kinds of Kimi Linear's layers; the published files number them from 1 in two lists.
  fileprivate func kimiLayerTypes(_ layers: Int, _ linear: ConfigurationReader?) throws -> [String] {
    if let types = try layerTypes(
      "layer_types", count: layers, known: ["linear_attention", "full_attention"])
    {
      return types
    }
    guard let linear, let full = try linear.integers("full_attn_layers"),
      let delta = try linear.integers("kda_layers")
    else { return (0..<layers).map { $0 > 0 && $0 % 4 == 0 ? "full_attention" : "linear_attention" } }
    let (fullSet, deltaSet) = (Set(full), Set(delta))
    try linear.require(
      fullSet.isDisjoint(with: deltaSet) && fullSet.union(deltaSet) == Set(1...layers), "kda_layers",
      "together with full_attn_layers expected each of the layers 1 to \(layers) once")
    return (1...layers).map { fullSet.contains($0) ? "full_attention" : "linear_attention" }
  }

  /// DeepSeek-V3's router: sigmoid scores, a correction bias, groups.
  func groupedRouter(
    channels: Int, experts: Int, active: Int, groups: Int, renormalizes: Bool, scale: Float
  ) throws -> ExpertRouter.Configuration {
    try require(
      experts % groups == 0, has("num_expert_group") ? "num_expert_group" : "n_group",
      "\(experts) experts cannot be cut into \(groups) groups")
    let activeGroups = try integer("topk_group", default: 1)
    try require(
      activeGroups <= groups && active <= experts / groups * activeGroups, "topk_group",
      "\(active) experts are chosen from \(activeGroups) of \(groups) groups of \(experts / groups)")
    return .init(
      channels: channels, experts: experts, active: active, scoring: .sigmoid, renormalizes: renormalizes,
      sumEpsilon: 1e-20, scale: try factor("routed_scaling_factor", default: scale), groups: groups,
      activeGroups: activeGroups, correctionBias: "gate.e_score_correction_bias")
  }
}
