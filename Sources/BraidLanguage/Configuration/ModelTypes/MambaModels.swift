import BraidMixers

extension HybridLMConfiguration {
  /// Mamba: selective state-space layers alone.
  static func mamba(_ r: ConfigurationReader) throws -> HybridLMConfiguration {
    try selective(r, normalization: .none, epsilon: 1e-6)
  }

  /// Falcon Mamba: Mamba with norms of what the scan selects by.
  static func falconMamba(_ r: ConfigurationReader) throws -> HybridLMConfiguration {
    try selective(r, normalization: .plain, epsilon: try r.epsilon("mixer_rms_eps", default: 1e-6))
  }

  private static func selective(
    _ r: ConfigurationReader, normalization: Mamba.Normalization, epsilon: Float
  ) throws -> HybridLMConfiguration {
    let channels = try r.integer("hidden_size", default: 768)
    try r.requireSiLU()
    let expansion = try r.float("expand", default: 2)
    try r.require(expansion > 0 && expansion <= 1024, "expand", "expected a number from 1 on")
    let mixer = Mamba.Configuration(
      channels: channels,
      innerChannels: try r.integer("intermediate_size", default: Int(expansion * Double(channels))),
      stateSize: try r.integer("state_size", default: 16), stepRank: try r.stepRank("time_step_rank"),
      kernelSize: try r.integer("conv_kernel", default: 4, in: 1...1024),
      bias: try r.bool("use_bias", default: false),
      convolutionBias: try r.bool("use_conv_bias", default: true), normalization: normalization,
      normEpsilon: epsilon)
    return try backbone(
      r, channels: channels, layers: try r.layerCount(default: 32), mixer: .mamba(mixer), vocabulary: 50280,
      ties: true, end: [0])
  }

  /// Mamba-2: state-space dual layers alone.
  static func mamba2(_ r: ConfigurationReader) throws -> HybridLMConfiguration {
    let channels = try r.integer("hidden_size", default: 4096)
    try r.requireSiLU()
    let shape = try r.mamba2Shape(
      channels: channels, heads: ("num_heads", 128), width: ("head_dim", 64), groups: ("n_groups", 8),
      state: ("state_size", 128), expansion: "expand")
    let mixer = try r.mamba2(
      shape, channels: channels, kernel: "conv_kernel", bias: "use_bias", convolutionBias: "use_conv_bias",
      epsilon: try r.epsilon("layer_norm_epsilon", default: 1e-5),
      stepLimit: try r.stepLimit("time_step_limit"))
    return try backbone(
      r, channels: channels, layers: try r.layerCount(default: 64), mixer: mixer, vocabulary: 32768,
      ties: false, end: [2])
  }

  /// Equal layers of one mixer under the names of the original Mamba.
  private static func backbone(
    _ r: ConfigurationReader, channels: Int, layers: Int, mixer: MixerDescription, vocabulary: Int,
    ties: Bool,
    end: [Int]
  ) throws -> HybridLMConfiguration {
    let norm = Normalization(
      channels: channels, epsilon: try r.epsilon("layer_norm_epsilon", default: 1e-5))
    let block = HybridBlock.Configuration([
      ResidualStep.Configuration(norm: .init("norm", norm), parts: [.init("mixer", .mixer(mixer))])
    ])
    return HybridLMConfiguration(
      modelType: try r.string("model_type"), vocabulary: try r.integer("vocab_size", default: vocabulary),
      channels: channels, names: .backbone, blocks: Array(repeating: block, count: layers), finalNorm: norm,
      tiesEmbedding: try r.bool("tie_word_embeddings", default: ties),
      endOfSequence: try r.endOfSequence(default: end),
      // The first conversions of the published models say "embedding".
      keyAliases: [.init(published: "backbone.embedding.", own: "backbone.embeddings.")])
  }
}

extension HybridLMConfiguration.Names {
  /// The names of the original Mamba's code.
  static var backbone: Self {
    var names = Self()
    names.embedding = "backbone.embeddings"
    names.blocks = "backbone.layers"
    names.finalNorm = "backbone.norm_f"
    return names
  }
}

extension ConfigurationReader {
  /// The rank of the step size's projection: a number, or "auto" for channels / 16 (nil).
  func stepRank(_ key: String) throws -> Int? {
    if value(key)?.stringValue == "auto" { return nil }
    return try optionalInteger(key)
  }

  struct Mamba2Shape {
    var heads, width, groups, state: Int
  }

  /// Sizes of a Mamba-2 layer; a width of "auto" is what is left. `inner` is heads x width where known.
  func mamba2Shape(
    channels: Int, heads: (key: String, default: Int), width: (key: String, default: Int?),
    groups: (key: String, default: Int), state: (key: String, default: Int), expansion: String? = nil,
    inner: Int? = nil
  ) throws -> Mamba2Shape {
    let count = try integer(heads.key, default: heads.default)
    var total = inner
    if total == nil, let expansion {
      total = try integer(expansion, default: 2, in: 1...1024) * channels
    }
    var size: Int
    if value(width.key)?.stringValue == "auto" || (!has(width.key) && width.default == nil) {
      guard let total else { throw failure(width.key, "expected a whole number") }
      try require(
        total % count == 0, heads.key, "\(total) channels cannot be cut into \(count) heads")
      size = total / count
    } else {
      size = try integer(width.key, default: width.default ?? 1)
      if let total {
        try require(
          size * count == total, width.key, "\(count) heads of that width do not make \(total) channels")
      }
    }
    try require(
      size > 0 && size * count <= 1 << 26, width.key, "\(count) heads of that width are too many channels")
    let groupCount = try integer(groups.key, default: groups.default)
    try require(
      count % groupCount == 0, groups.key, "\(count) heads cannot be cut into \(groupCount) groups")
    let states = try integer(state.key, default: state.default)
    try require(
      groupCount * states <= 1 << 26, state.key, "\(groupCount) groups of so many states are too many")
    return Mamba2Shape(heads: count, width: size, groups: groupCount, state: states)
  }

  /// A Mamba-2 layer with a gated norm over its groups; the keys of its switches are given.
  func mamba2(
    _ shape: Mamba2Shape, channels: Int, kernel: String, bias: String, convolutionBias: String?,
    epsilon: Float,
    stepLimit: ClosedRange<Float>, change: (inout Mamba2.Configuration) -> Void = { _ in }
  ) throws -> MixerDescription {
    var configuration = Mamba2.Configuration(
      channels: channels, heads: shape.heads, headSize: shape.width, stateSize: shape.state,
      groups: shape.groups, kernelSize: try integer(kernel, default: 4, in: 1...1024),
      bias: try bool(bias, default: false),
      convolutionBias: try convolutionBias.map { try bool($0, default: true) } ?? true,
      leastStep: stepLimit.lowerBound,
      greatestStep: stepLimit.upperBound.isFinite ? stepLimit.upperBound : nil, normEpsilon: epsilon)
    change(&configuration)
    return .mamba2(configuration)
  }
}
