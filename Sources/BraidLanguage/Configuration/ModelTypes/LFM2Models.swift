import BraidMixers

extension HybridLMConfiguration {
  /// LFM2: short convolutions and grouped-query attention, each before a feed-forward layer.
  static func lfm2(_ r: ConfigurationReader) throws -> HybridLMConfiguration {
    let channels = try r.integer("hidden_size", default: 2560)
    let layers = try r.layerCount(default: 32)
    var width = try r.integer("block_ff_dim", "intermediate_size", default: 12288)
    if try r.bool("block_auto_adjust_ff_dim", default: true) {
      width = 2 * width / 3
      let multiplier = try r.float("block_ffn_dim_multiplier", default: 1)
      try r.require(
        multiplier > 0 && multiplier < 1000, "block_ffn_dim_multiplier", "expected a number above 0")
      let unit = try r.integer("block_multiple_of", default: 256)
      width = (Int(multiplier * Double(width)) + unit - 1) / unit * unit
      try r.require(width > 0, "intermediate_size", "too small")
    }
    let attending = try r.integers("full_attn_idxs").map { Set($0) }
    let types =
      try r.layerTypes("layer_types", count: layers, known: ["conv", "full_attention"])
      ?? (0..<layers).map { attending?.contains($0) ?? true ? "full_attention" : "conv" }
    return try lfm2(r, channels: channels, types: types) { _ in
      .feedForward(FeedForward.Configuration(channels: channels, width: width, layout: .numbered))
    }
  }

  /// LFM2 with experts from some layer on.
  static func lfm2MoE(_ r: ConfigurationReader) throws -> HybridLMConfiguration {
    let channels = try r.integer("hidden_size", default: 2048)
    let layers = try r.layerCount(default: 32)
    let width = try r.integer("intermediate_size", default: 7168)
    let expertWidth = try r.integer("moe_intermediate_size", default: 1792)
    let dense = try r.integer("num_dense_layers", default: 2, in: 0...1 << 20)
    let experts = try r.integer("num_experts", default: 32)
    try r.requireFew(experts: experts, layers: layers, key: "num_experts")
    let active = try r.integer("num_experts_per_tok", default: 4)
    try r.require(active <= experts, "num_experts_per_tok", "there are \(experts) experts")
    guard let types = try r.layerTypes("layer_types", count: layers, known: ["conv", "full_attention"]) else {
      throw r.failure("layer_types", "expected the kind of each layer")
    }
    let router = ExpertRouter.Configuration(
      channels: channels, experts: experts, active: active, scoring: .sigmoid,
      renormalizes: try r.bool("norm_topk_prob", default: true), sumEpsilon: 1e-6,
      scale: try r.factor("routed_scaling_factor"),
      correctionBias: try r.bool("use_expert_bias", default: true) ? "expert_bias" : nil)
    let mixture = MixtureOfExperts.Configuration(
      router: router,
      expert: FeedForward.Configuration(channels: channels, width: expertWidth, layout: .numbered))
    return try lfm2(r, channels: channels, types: types) { layer in
      layer < dense
        ? .feedForward(FeedForward.Configuration(channels: channels, width: width, layout: .numbered))
        : .experts(mixture)
    }
  }

  private static func lfm2(
    _ r: ConfigurationReader, channels: Int, types: [String],
    _ feedForward: (_ layer: Int) -> ResidualStep.Part.Kind
  ) throws -> HybridLMConfiguration {
    let epsilon = try r.epsilon("norm_eps", default: 1e-5)
    let norm = Normalization(channels: channels, epsilon: epsilon)
    let heads = try r.heads(channels: channels, count: 32, keyCount: 8)
    let attention = GroupedQueryAttention.Configuration(
      AttentionHeads(
        channels: channels, heads: heads.count, keyHeads: heads.keyCount, headWidth: heads.width,
        rotary: try r.rotary(headWidth: heads.width, theta: 1e6), norm: .init(.head, epsilon: epsilon),
        layout: .lfm2))
    let convolution = GatedShortConvolution.Configuration(
      channels: channels, kernelSize: try r.integer("conv_L_cache", default: 3, in: 1...1024),
      bias: try r.bool("conv_bias", default: false))
    var names = Names()
    names.finalNorm = "model.embedding_norm"
    return HybridLMConfiguration(
      modelType: try r.string("model_type"), vocabulary: try r.integer("vocab_size", default: 65536),
      channels: channels, names: names,
      blocks: types.enumerated().map { layer, type in
        HybridBlock.Configuration([
          ResidualStep.Configuration(
            norm: .init("operator_norm", norm),
            parts: [
              type == "conv"
                ? .init("conv", .mixer(.shortConvolution(convolution)))
                : .init("self_attn", .mixer(.attention(attention)))
            ]),
          ResidualStep.Configuration(
            norm: .init("ffn_norm", norm), parts: [.init("feed_forward", feedForward(layer))]),
        ])
      },
      finalNorm: norm, tiesEmbedding: try r.bool("tie_embedding", "tie_word_embeddings", default: true),
      endOfSequence: try r.endOfSequence(default: [2]))
  }
}
