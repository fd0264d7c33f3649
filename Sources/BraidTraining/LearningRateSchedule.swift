import Foundation

/// The learning rate of each step.
public struct LearningRateSchedule: Sendable, Codable, Hashable {
  public enum Shape: String, Sendable, Codable {
    /// The peak throughout.
    case constant
    /// Half a cosine from the peak to `final`.
    case cosine
    /// The peak times `factor` for each milestone passed.
    case step
  }

  public var shape: Shape
  public var peak: Float
  /// The rate that the cosine ends at.
  public var final: Float
  /// Steps over which the rate rises linearly from 0.
  public var warmUpSteps: Int
  /// Steps at which `step` multiplies the rate.
  public var milestones: [Int]
  public var factor: Float

  public init(
    shape: Shape = .cosine, peak: Float, final: Float = 0, warmUpSteps: Int = 0, milestones: [Int] = [],
    factor: Float = 0.5
  ) {
    self.shape = shape
    self.peak = peak
    self.final = final
    self.warmUpSteps = warmUpSteps
    self.milestones = milestones
    self.factor = factor
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    shape = try container.decodeIfPresent(Shape.self, forKey: .shape) ?? .cosine
    peak = try container.decode(Float.self, forKey: .peak)
    final = try container.decodeIfPresent(Float.self, forKey: .final) ?? 0
    warmUpSteps = try container.decodeIfPresent(Int.self, forKey: .warmUpSteps) ?? 0
    milestones = try container.decodeIfPresent([Int].self, forKey: .milestones) ?? []
    factor = try container.decodeIfPresent(Float.self, forKey: .factor) ?? 0.5
  }

  /// The rate of step `step` (from 0) of `total`.
  public func rate(step: Int, of total: Int) -> Float {
    if step < warmUpSteps { return peak * Float(step + 1) / Float(warmUpSteps) }
    switch shape {
    case .constant: return peak
    case .step: return peak * milestones.filter { step >= $0 }.reduce(1) { rate, _ in rate * factor }
    case .cosine:
      let span = Double(max(1, total - warmUpSteps))
      let progress = min(1, Double(step - warmUpSteps) / span)
      return final + (peak - final) * Float(0.5 * (1 + cos(.pi * progress)))
    }
  }
}
