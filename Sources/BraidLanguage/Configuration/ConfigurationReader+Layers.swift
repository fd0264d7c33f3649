import BraidMixers
import BraidTensor
import Foundation

// What the configurations of several types of model say in the same words.
extension ConfigurationReader {
  /// Bounds that keep a hostile configuration from declaring more layers than memory holds.
  static let mostLayers = 4096
  static let mostExperts = 1 << 18

  func layerCount(default fallback: Int) throws -> Int {
    try integer("num_hidden_layers", default: fallback, in: 1...Self.mostLayers)
  }

  /// The kind of each layer, older names replaced by today's, or nil where the key is absent.
  func layerTypes(_ keys: String..., count: Int?, known: [String]) throws -> [String]? {
    for key in keys {
      guard let found = try strings(key) else { continue }
      let types = found.map { ["mamba": "linear_attention", "attention": "full_attention"][$0] ?? $0 }
      try require(
        !types.isEmpty && types.count <= Self.mostLayers && count ?? types.count == types.count, key,
        "expected the kinds of \(count.map { "\($0)" } ?? "1 to \(Self.mostLayers)") layers, found \(types.count)"
      )
      if let strange = types.first(where: { !known.contains($0) }) {
        throw failure(key, "\"\(strange)\" is no kind of layer; known are \(known.joined(separator: ", "))")
      }
      return types
    }
    return nil
  }

  /// The pointwise function that a key names.
  func function(_ key: String = "hidden_act", default fallback: String = "silu") throws
    -> FeedForward.Function
  {
    switch try string(key, default: fallback) {
    case "silu", "swish": return .silu
    case "gelu": return .gelu
    case "gelu_new", "gelu_pytorch_tanh", "gelu_fast": return .geluTanh
    case "relu": return .relu
    case "relu2": return .reluSquared
    default:
      throw failure(key, "known are silu, swish, gelu, gelu_new, gelu_pytorch_tanh, relu, relu2")
    }
  }

  /// Throws unless the activation inside of the mixers is SiLU.
  func requireSiLU(_ key: String = "hidden_act") throws {
    try require(try function(key) == .silu, key, "the mixers of this type of model know silu alone")
  }

  /// The ids that end a text.
  func endOfSequence(default fallback: [Int]) throws -> [Int] {
    guard let value = value("eos_token_id") else { return members("eos_token_id") ? [] : fallback }
    if let one = value.integerValue { return [one] }
    return try integers("eos_token_id") ?? []
  }

  /// Width of a head, and heads that agree with each other.
  struct Heads {
    var count, keyCount, width: Int
  }

  func heads(
    channels: Int, count: Int, keyCount: Int?, width: Int? = nil, widthKey: String = "head_dim"
  ) throws -> Heads {
    let count = try integer("num_attention_heads", default: count)
    // Null says: as many as queries.
    let shared = members("num_key_value_heads") ? nil : keyCount
    let keyCount = try optionalInteger("num_key_value_heads") ?? shared ?? count
    try require(
      count % keyCount == 0, "num_key_value_heads",
      "\(count) query heads cannot share \(keyCount) heads of keys")
    if let width = try optionalInteger(widthKey) ?? width {
      return Heads(count: count, keyCount: keyCount, width: width)
    }
    try require(
      channels % count == 0, "num_attention_heads", "\(channels) channels cannot be cut into \(count) heads")
    return Heads(count: count, keyCount: keyCount, width: channels / count)
  }

  /// The rotary embedding of heads of that width; nil where no channel turns.
  ///
  /// "rope_parameters", the older "rope_scaling", and "rope_theta" and "partial_rotary_factor" beside them are read.
  func rotary(headWidth: Int, theta: Double = 10_000, partial: Double = 1) throws -> RotaryEmbedding? {
    let own = try object("rope_scaling") ?? object("rope_parameters")
    let base = try own?.optionalFloat("rope_theta") ?? float("rope_theta", default: theta)
    try require(base > 0 && base.isFinite, "rope_theta", "expected a number above 0")
    let part =
      try own?.optionalFloat("partial_rotary_factor") ?? float("partial_rotary_factor", default: partial)
    try require(part >= 0 && part <= 1, "partial_rotary_factor", "expected a part of 1")
    let dimensions = Int(Double(headWidth) * part)
    if dimensions == 0 { return nil }
    try require(
      dimensions % 2 == 0, own?.has("partial_rotary_factor") == true ? "rope_parameters" : "head_dim",
      "\(dimensions) of \(headWidth) channels of a head would turn, which make no pairs")
    return RotaryEmbedding(
      dimensions: dimensions, base: base, scaling: try own.map { try $0.rotaryScaling(outer: self) } ?? .none)
  }

  private func optionalFloat(_ key: String) throws -> Double? { has(key) ? try float(key, default: 0) : nil }

  private func rotaryScaling(outer: ConfigurationReader) throws -> RotaryEmbedding.Scaling {
    let key = has("rope_type") ? "rope_type" : "type"
    func positive(_ key: String, default fallback: Double? = nil) throws -> Double {
      let number = try optionalFloat(key) ?? fallback
      guard let number, number > 0, number.isFinite else { throw failure(key, "expected a number above 0") }
      return number
    }
    func originalPositions() throws -> Int {
      try integer(
        "original_max_position_embeddings",
        default: try outer.integer(
          "original_max_position_embeddings", "max_position_embeddings", "model_max_length", default: 2048))
    }
    switch try string(key, default: "default") {
    case "default": return .none
    case "linear": return .linear(factor: try positive("factor"))
    case "llama3":
      let (low, high) = (try positive("low_freq_factor"), try positive("high_freq_factor"))
      try require(low < high, "low_freq_factor", "expected less than high_freq_factor, \(high)")
      return .llama3(
        factor: try positive("factor"), low: low, high: high, originalPositions: try originalPositions())
    case "yarn":
      let factor = try positive("factor")
      var attention = try optionalFloat("attention_factor")
      if attention == nil, let m = try optionalFloat("mscale"), let all = try optionalFloat("mscale_all_dim"),
        m != 0, all != 0
      {
        func scale(_ m: Double) -> Double { factor <= 1 ? 1 : 0.1 * m * log(factor) + 1 }
        attention = scale(m) / scale(all)
      }
      return .yarn(
        factor: factor, originalPositions: try originalPositions(),
        fast: try positive("beta_fast", default: 32), slow: try positive("beta_slow", default: 1),
        truncated: try bool("truncate", default: true), attentionFactor: attention)
    default:
      throw failure(key, "known are default, linear, llama3, yarn")
    }
  }

  /// The bounds of step sizes, as a pair of numbers.
  func stepLimit(_ keys: String..., default fallback: ClosedRange<Float> = 0...Float.infinity) throws
    -> ClosedRange<Float>
  {
    for key in keys {
      guard let limit = try floats(key, count: 2) else { continue }
      try require(
        limit[0] <= limit[1] && limit[0] >= 0, key, "expected two numbers from 0 on, the smaller first")
      return Float(limit[0])...Float(limit[1])
    }
    return fallback
  }

  /// Throws where more experts are declared than there can be.
  func requireFew(experts: Int, layers: Int, key: String) throws {
    try require(
      experts * layers <= Self.mostExperts, key, "\(experts) experts in \(layers) layers are too many")
  }
}
