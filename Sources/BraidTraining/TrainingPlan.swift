import BraidNN

/// How long, how fast and how carefully to train; the same for every job.
public struct TrainingPlan: Sendable, Codable, Hashable {
  public var steps: Int
  public var learningRate: LearningRateSchedule
  public var optimizer: AdamW.Configuration
  /// Decay of the moving average of the weights that is validated and saved; 0 keeps none.
  public var averageDecay: Float
  /// Gradients with a larger global norm are scaled down to it; 0 leaves them.
  public var gradientClip: Float
  public var checkpointEvery: Int
  public var validateEvery: Int
  public var logEvery: Int
  public var seed: UInt64

  public init(
    steps: Int, learningRate: LearningRateSchedule, optimizer: AdamW.Configuration = .init(),
    averageDecay: Float = 0.999, gradientClip: Float = 1, checkpointEvery: Int = 500,
    validateEvery: Int = 500,
    logEvery: Int = 20, seed: UInt64 = 0
  ) {
    self.steps = steps
    self.learningRate = learningRate
    self.optimizer = optimizer
    self.averageDecay = averageDecay
    self.gradientClip = gradientClip
    self.checkpointEvery = checkpointEvery
    self.validateEvery = validateEvery
    self.logEvery = logEvery
    self.seed = seed
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    let steps = try container.decode(Int.self, forKey: .steps)
    self.init(
      steps: steps,
      learningRate: try container.decode(LearningRateSchedule.self, forKey: .learningRate),
      optimizer: try container.decodeIfPresent(AdamW.Configuration.self, forKey: .optimizer) ?? .init(),
      averageDecay: try container.decodeIfPresent(Float.self, forKey: .averageDecay) ?? 0.999,
      gradientClip: try container.decodeIfPresent(Float.self, forKey: .gradientClip) ?? 1,
      checkpointEvery: try container.decodeIfPresent(Int.self, forKey: .checkpointEvery) ?? 500,
      validateEvery: try container.decodeIfPresent(Int.self, forKey: .validateEvery) ?? 500,
      logEvery: try container.decodeIfPresent(Int.self, forKey: .logEvery) ?? 20,
      seed: try container.decodeIfPresent(UInt64.self, forKey: .seed) ?? 0)
  }
}
