import BraidMixers

extension HybridLMConfiguration {
  /// MiniMax-01: lightning attention and softmax attention before experts; sums start from what the norms give.
  static func miniMax(_ r: ConfigurationReader) throws -> HybridLMConfiguration {
    let channels = try r.integer("hidden_size", default: 4096)
    let layers = try r.layerCount(default: 32)
    let function = try r.function()
    let norm = try r.norm(channels, "rms_norm_eps", default: 1e-5)
    let heads = try r.heads(channels: channels, count: 32, keyCount: 8)
    // The first published files number the kinds.
    let numbered = try r.integers("attn_type_list")
    try r.require(
      numbered.map { $0.count == layers && $0.allSatisfy { $0 == 0 || $0 == 1 } } ?? true, "attn_type_list",
      "expected 0 or 1 for each of \(layers) layers")
    let types =
      try r.layerTypes("layer_types", count: layers, known: ["linear_attention", "full_attention"])
      ?? numbered?.map { $0 == 0 ? "linear_attention" : "full_attention" }
      ?? (0..<layers).map { $0 % 2 == 0 ? "full_attention" : "linear_attention" }
    var rotary = try r.rotary(headWidth: heads.width, theta: 1e6)
    if let dimensions = try r.optionalInteger("rotary_dim") {
      try r.require(
        dimensions % 2 == 0 && dimensions <= heads.width, "rotary_dim", "heads have \(heads.width) channels")
      rotary?.dimensions = dimensions
    }
    let attention = GroupedQueryAttention.Configuration(
      AttentionHeads(
        channels: channels, heads: heads.count, keyHeads: heads.keyCount, headWidth: heads.width,
        rotary: rotary),
      window: try r.optionalInteger("sliding_window"))
    let block = try r.integer("block_size", default: 256, in: 1...8192)
    if types.contains("linear_attention") { try r.requireSiLU() }

    let experts = try r.integer("num_local_experts", default: 8)
    try r.requireFew(experts: experts, layers: layers, key: "num_local_experts")
    let active = try r.integer("num_experts_per_tok", default: 2)
    try r.require(active <= experts, "num_experts_per_tok", "there are \(experts) experts")
    let mixture = MixtureOfExperts.Configuration(
      router: .init(channels: channels, experts: experts, active: active, renormalizes: true),
      expert: .init(
        channels: channels, width: try r.integer("intermediate_size", default: 14336), function: function,
        layout: .numbered))
    func factor(_ key: String, older: String) throws -> Float {
      try r.factor(r.has(key) || !r.has(older) ? key : older)
    }
    let scales = [
      "full": (
        try factor("full_attn_alpha_factor", older: "layernorm_full_attention_alpha"),
        try factor("full_attn_beta_factor", older: "layernorm_full_attention_beta")
      ),
      "linear": (
        try factor("linear_attn_alpha_factor", older: "layernorm_linear_attention_alpha"),
        try factor("linear_attn_beta_factor", older: "layernorm_linear_attention_beta")
      ),
      "mlp": (
        try factor("mlp_alpha_factor", older: "layernorm_mlp_alpha"),
        try factor("mlp_beta_factor", older: "layernorm_mlp_beta")
      ),
    ]
    return HybridLMConfiguration(
      modelType: try r.string("model_type"), vocabulary: try r.integer("vocab_size", default: 32000),
      channels: channels,
      blocks: types.enumerated().map { layer, type in
        let isFull = type == "full_attention"
        let mixer: MixerDescription =
          isFull
          ? .attention(attention)
          : .lightningAttention(
            .init(
              channels: channels, heads: heads.count, headSize: heads.width, layer: layer, layerCount: layers),
            tableLength: block)
        let (own, mlp) = (scales[isFull ? "full" : "linear"]!, scales["mlp"]!)
        return .init([
          .init(
            norm: .init("input_layernorm", norm), parts: [.init("self_attn", .mixer(mixer))],
            keepsNormalized: true, residualScale: own.0, outputScale: own.1),
          .init(
            norm: .init("post_attention_layernorm", norm),
            parts: [.init("block_sparse_moe", .experts(mixture))], keepsNormalized: true,
            residualScale: mlp.0, outputScale: mlp.1),
        ])
      },
      finalNorm: norm, tiesEmbedding: try r.bool("tie_word_embeddings", default: false),
      endOfSequence: try r.endOfSequence(default: [2]))
  }
}
