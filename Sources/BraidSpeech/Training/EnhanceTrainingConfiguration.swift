import BraidTraining

/// A training recipe of a speech enhancement model, as `braid train enhance --config` reads it (JSON).
public struct EnhanceTrainingConfiguration: Sendable, Codable {
  /// The model: `{"architecture": "mambattention", "configuration": {...}}`.
  public enum Model: Sendable, Codable {
    case mambattention(MambAttention.Configuration)
    case streaming(StreamingMambAttention.Configuration)

    private enum CodingKeys: CodingKey { case architecture, configuration }

    public init(from decoder: any Decoder) throws {
      let container = try decoder.container(keyedBy: CodingKeys.self)
      let name = try container.decode(String.self, forKey: .architecture)
      switch name {
      case MambAttention.architecture:
        self = .mambattention(
          try container.decode(MambAttention.Configuration.self, forKey: .configuration))
      case StreamingMambAttention.architecture:
        self = .streaming(
          try container.decode(StreamingMambAttention.Configuration.self, forKey: .configuration))
      default:
        throw DecodingError.dataCorruptedError(
          forKey: .architecture, in: container,
          debugDescription:
            "\"\(name)\" is not one of \(EnhancementModelFile.architectures.joined(separator: ", "))")
      }
    }

    public func encode(to encoder: any Encoder) throws {
      var container = encoder.container(keyedBy: CodingKeys.self)
      switch self {
      case .mambattention(let c):
        try container.encode(MambAttention.architecture, forKey: .architecture)
        try container.encode(c, forKey: .configuration)
      case .streaming(let c):
        try container.encode(StreamingMambAttention.architecture, forKey: .architecture)
        try container.encode(c, forKey: .configuration)
      }
    }
  }

  /// The name under which the model is saved.
  public var name: String
  /// What the model is for, in a sentence; goes into its card.
  public var summary: String
  /// Further entries of the card: licence, data.
  public var card: [String: String]?
  public var model: Model
  public var mixture: NoisyMixtureConfiguration
  public var loss: EnhancementLoss
  public var batch: Int
  /// Recordings of speech, and of noise, that are kept for validation: evenly spread over the order of their paths.
  public var validationCount: Int
  /// Signal-to-noise ratios in dB that validation mixes in turn; -5, 0, 5, 10 where nil.
  public var validationRatios: [Float]?
  public var plan: TrainingPlan
}
