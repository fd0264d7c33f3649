import BraidMixers

extension HybridLMConfiguration {
  /// Jamba: Mamba, and attention in every so many layers, before feed-forward layers and experts in turn.
  static func jamba(_ r: ConfigurationReader) throws -> HybridLMConfiguration {
    let channels = try r.integer("hidden_size", default: 4096)
    let layers = try r.layerCount(default: 32)
    try r.requireSiLU()
    let norm = try r.norm(channels, "rms_norm_eps", default: 1e-6)
    let heads = try r.heads(channels: channels, count: 32, keyCount: 8)
    let attention = GroupedQueryAttention.Configuration(
      AttentionHeads(
        channels: channels, heads: heads.count, keyHeads: heads.keyCount, headWidth: heads.width))
    let mamba = Mamba.Configuration(
      channels: channels, innerChannels: try r.integer("mamba_expand", default: 2, in: 1...1024) * channels,
      stateSize: try r.integer("mamba_d_state", default: 16), stepRank: try r.stepRank("mamba_dt_rank"),
      kernelSize: try r.integer("mamba_d_conv", default: 4, in: 1...1024),
      bias: try r.bool("mamba_proj_bias", default: false),
      convolutionBias: try r.bool("mamba_conv_bias", default: true), normalization: .learnt,
      normEpsilon: norm.epsilon)
    func every(_ period: String, _ offset: String, _ defaults: (Int, Int)) throws -> (Int) -> Bool {
      let period = try r.integer(period, default: defaults.0)
      let start = try r.integer(offset, default: defaults.1, in: 0...1 << 20)
      try r.require(start < period, offset, "expected less than the period, \(period)")
      return { $0 % period == start }
    }
    let attends = try every("attn_layer_period", "attn_layer_offset", (8, 4))
    let routes = try every("expert_layer_period", "expert_layer_offset", (2, 1))
    let feedForward = FeedForward.Configuration(
      channels: channels, width: try r.integer("intermediate_size", default: 14336))
    let experts = try r.integer("num_experts", default: 16)
    try r.requireFew(experts: experts, layers: layers, key: "num_experts")
    let active = try r.integer("num_experts_per_tok", default: 2)
    try r.require(experts == 1 || active <= experts, "num_experts_per_tok", "there are \(experts) experts")
    let mixture = MixtureOfExperts.Configuration(
      router: .init(channels: channels, experts: experts, active: active, weight: "router.weight"),
      expert: feedForward)
    return HybridLMConfiguration(
      modelType: try r.string("model_type"), vocabulary: try r.integer("vocab_size", default: 65536),
      channels: channels, names: .finalLayerNorm,
      blocks: (0..<layers).map { layer in
        .bamba(
          norm,
          mixers: [
            attends(layer)
              ? .init("self_attn", .mixer(.attention(attention))) : .init("mamba", .mixer(.mamba(mamba)))
          ],
          then: experts > 1 && routes(layer) ? .experts(mixture) : .feedForward(feedForward))
      },
      finalNorm: norm, tiesEmbedding: try r.bool("tie_word_embeddings", default: false),
      endOfSequence: try r.endOfSequence(default: [2]))
  }
}
