import BraidMixers

extension HybridLMConfiguration {
  /// Zamba2: Mamba-2, before which in some layers a transformer reads its input and the embedding; a few such
  /// transformers serve all of these layers in turn, with low-rank adapters of each.
  static func zamba2(_ r: ConfigurationReader) throws -> HybridLMConfiguration {
    let channels = try r.integer("hidden_size", default: 2560)
    let layers = try r.layerCount(default: 54)
    let norm = try r.norm(channels, "rms_norm_eps", default: 1e-5)
    let standard =
      ["m"] + Array(repeating: ["m", "m", "m", "m", "m", "h"], count: 7).joined()
      + ["m", "m", "m", "m", "h", "m", "m", "m", "h", "m", "m"]
    let types =
      try r.layerTypes(
        "layers_block_type", "layer_types", count: layers, known: ["linear_attention", "hybrid"])
      ?? standard.map { $0 == "h" ? "hybrid" : "linear_attention" }
    try r.require(types.count == layers, "num_hidden_layers", "the kinds of \(types.count) layers are known")
    let uses = types.indices.filter { types[$0] == "hybrid" }
    let memories = try r.integer("num_mem_blocks", default: 1)

    let shape = try r.mamba2Shape(
      channels: channels, heads: ("n_mamba_heads", 8), width: ("mamba_headdim", nil),
      groups: ("mamba_ngroups", 1), state: ("mamba_d_state", 64), expansion: "mamba_expand")
    let least = try r.float("time_step_min", default: 0.001)
    try r.require(least >= 0 && least.isFinite, "time_step_min", "expected a number from 0 on")
    let mamba = try r.mamba2(
      shape, channels: channels, kernel: "mamba_d_conv", bias: "add_bias_linear", convolutionBias: nil,
      epsilon: 1e-5, stepLimit: Float(least)...Float.infinity)

    let count = try r.integer("num_attention_heads", default: 32)
    let heads = try r.heads(
      channels: 2 * channels, count: 32, keyCount: nil, width: 2 * channels / count,
      widthKey: "attention_head_dim")
    let rank = try r.integer("adapter_rank", default: 128)
    let hasAdapters = try r.bool("use_shared_attention_adapter", default: false)
    let rotary = try r.bool("use_mem_rope", default: false) ? try r.rotary(headWidth: heads.width) : nil
    let width = try r.integer("intermediate_size", default: 4 * channels)
    let function = try r.function(default: "gelu")
    let bias = try r.bool("add_bias_linear", default: false)
    func transformer(_ memory: Int) -> SharedTransformer.Configuration {
      let adapters = AttentionHeads.Adapters(
        rank: rank, uses: uses.indices.filter { $0 % memories == memory })
      return SharedTransformer.Configuration(
        inputNorm: .init(channels: 2 * channels, epsilon: norm.epsilon),
        attention: .init(
          AttentionHeads(
            channels: channels, heads: heads.count, keyHeads: heads.keyCount, headWidth: heads.width,
            inputChannels: 2 * channels, rotary: rotary, scale: 1 / (Float(heads.width) / 2).squareRoot(),
            adapters: hasAdapters ? adapters : nil)),
        feedForwardNorm: norm,
        feedForward: .init(
          channels: channels, width: width, function: function,
          layout: .fused(gateAndUp: "gate_up_proj", down: "down_proj"), bias: bias, adapters: adapters))
    }
    var names = Names()
    names.finalNorm = "model.final_layernorm"
    return HybridLMConfiguration(
      modelType: try r.string("model_type"), vocabulary: try r.integer("vocab_size", default: 32000),
      channels: channels, names: names,
      blocks: types.enumerated().map { layer, type in
        guard let number = uses.firstIndex(of: layer) else {
          return .init([
            .init(norm: .init("input_layernorm", norm), parts: [.init("mamba", .mixer(mamba))])
          ])
        }
        let memory = number % memories
        return .init(
          [
            .init(
              norm: .init("mamba_decoder.input_layernorm", norm),
              parts: [.init("mamba_decoder.mamba", .mixer(mamba))])
          ],
          shared: .init(transformer(memory), number: number, source: uses[memory]))
      },
      finalNorm: norm, tiesEmbedding: try r.bool("tie_word_embeddings", default: true),
      endOfSequence: try r.endOfSequence(default: [2]))
  }
}
