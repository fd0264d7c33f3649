import BraidTraining

/// A training recipe of a restoration model, as `braid train restore --config` reads it (JSON).
public struct RestoreTrainingConfiguration: Sendable, Codable {
  public enum Loss: String, Sendable, Codable {
    /// The mean absolute difference.
    case l1
    /// The mean of sqrt(difference² + 1e-6).
    case charbonnier
    /// The mean squared difference.
    case mse
  }

  /// The model: `{"architecture": "contrast", "configuration": {...}}`.
  public enum Model: Sendable, Codable {
    case contrast(ContrastConfiguration)
    case hat(HATConfiguration)

    private enum CodingKeys: CodingKey { case architecture, configuration }

    public init(from decoder: any Decoder) throws {
      let container = try decoder.container(keyedBy: CodingKeys.self)
      let name = try container.decode(String.self, forKey: .architecture)
      switch name {
      case Contrast.architecture:
        self = .contrast(try container.decode(ContrastConfiguration.self, forKey: .configuration))
      case HAT.architecture:
        self = .hat(try container.decode(HATConfiguration.self, forKey: .configuration))
      default:
        throw DecodingError.dataCorruptedError(
          forKey: .architecture, in: container, debugDescription: "\"\(name)\" is not hat or contrast")
      }
    }

    public func encode(to encoder: any Encoder) throws {
      var container = encoder.container(keyedBy: CodingKeys.self)
      switch self {
      case .contrast(let c):
        try container.encode(Contrast.architecture, forKey: .architecture)
        try container.encode(c, forKey: .configuration)
      case .hat(let c):
        try container.encode(HAT.architecture, forKey: .architecture)
        try container.encode(c, forKey: .configuration)
      }
    }
  }

  /// The name under which the model is saved.
  public var name: String
  /// What the model is for, in a sentence; goes into its card.
  public var summary: String
  public var model: Model
  /// From clean to spoilt pictures, in this order.
  public var degradations: [Degradation]
  public var loss: Loss
  /// The side of a training crop, in pixels of the clean picture.
  public var patch: Int
  public var batch: Int
  /// Pictures of the data folder, by name order, that are kept for validation.
  public var validationCount: Int
  /// Strength of the degradation in validation; nil uses `degradations`.
  public var validationDegradations: [Degradation]?
  public var plan: TrainingPlan
}
