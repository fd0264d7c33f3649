import BraidNN
import BraidTensor

/// Which experts a position goes to, and with what weights.
///
///     s = score(W x);  the k experts with the largest s + bias, within the best groups;  w = s at them
///
/// Sources: Shazeer et al., "Outrageously large neural networks", 2017 (softmax); DeepSeek-AI, "DeepSeek-V3", 2024
/// (sigmoid, correction bias, groups).
public struct ExpertRouter: Sendable {
  /// How the products with the router's rows become scores.
  public enum Scoring: String, Codable, Hashable, Sendable, CaseIterable {
    /// Softmax over all experts.
    case softmax
    /// Softmax over the chosen experts.
    case softmaxOfChosen
    case sigmoid
  }

  public struct Configuration: Codable, Hashable, Sendable {
    public var channels: Int
    public var experts: Int
    /// k, the experts that a position goes to.
    public var active: Int
    public var scoring: Scoring
    /// Whether the k weights are divided by their sum plus `sumEpsilon`.
    public var renormalizes: Bool
    public var sumEpsilon: Float
    /// The factor of all weights.
    public var scale: Float
    /// Experts in equal groups, of which only the best `activeGroups` count (by the sum of their two best scores).
    public var groups: Int
    public var activeGroups: Int
    /// The name of the router's matrix, and of the bias that only the choice sees (nil: none).
    public var weight: String
    public var correctionBias: String?

    public init(
      channels: Int, experts: Int, active: Int, scoring: Scoring = .softmax, renormalizes: Bool = false,
      sumEpsilon: Float = 0, scale: Float = 1, groups: Int = 1, activeGroups: Int = 1,
      weight: String = "gate.weight", correctionBias: String? = nil
    ) {
      self.channels = channels
      self.experts = experts
      self.active = active
      self.scoring = scoring
      self.renormalizes = renormalizes
      self.sumEpsilon = sumEpsilon
      self.scale = scale
      self.groups = groups
      self.activeGroups = activeGroups
      self.weight = weight
      self.correctionBias = correctionBias
    }
  }

  /// The choice for some positions.
  public struct Route: Sendable {
    /// The experts of each position, k after one another.
    public let experts: [Int]
    /// Their weights [positions, k].
    public let weights: Tensor
  }

  public let configuration: Configuration
  let weight: Parameter
  let bias: Parameter?

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try MixerError.require(
      c.experts > 0 && c.active > 0 && c.active <= c.experts, "expert-router",
      "\(c.active) of \(c.experts) experts")
    try MixerError.require(
      c.groups > 0 && c.experts % c.groups == 0 && c.activeGroups > 0 && c.activeGroups <= c.groups
        && c.active <= c.experts / c.groups * c.activeGroups, "expert-router",
      "\(c.active) of \(c.experts) experts from \(c.activeGroups) of \(c.groups) groups")
    configuration = c
    weight = scope.parameter(c.weight, [c.experts, c.channels], init: .normal(0.02))
    bias = c.correctionBias.map { scope.parameter($0, [c.experts], init: .zeros) }
  }

  /// The route of the positions x [positions, channels]. Gradients flow through the weights, not through the choice.
  public func callAsFunction(_ x: Tensor) -> Route {
    let c = configuration
    let products = linear(x, weight.value)
    let scores: Tensor
    switch c.scoring {
    case .softmax: scores = products.softmax()
    case .sigmoid: scores = products.sigmoid()
    case .softmaxOfChosen: scores = products
    }
    let chosen = choose(scores.floats, bias: bias?.value.floats)
    let positions = x.shape[0]
    let indices = Tensor(chosen.map(Int64.init), shape: [positions, c.active])
    var weights = scores.gathered(axis: 1, indices)
    if c.scoring == .softmaxOfChosen { weights = weights.softmax() }
    if c.renormalizes {
      let sum = weights.sum(axes: [1], keepingAxes: true)
      weights = weights / (c.sumEpsilon == 0 ? sum : sum + c.sumEpsilon)
    }
    return Route(experts: chosen, weights: c.scale == 1 ? weights : weights * c.scale)
  }

  /// The best experts of every position, best first; of equals the first.
  private func choose(_ scores: [Float], bias: [Float]?) -> [Int] {
    let c = configuration
    let positions = scores.count / c.experts
    var chosen: [Int] = []
    chosen.reserveCapacity(positions * c.active)
    let size = c.experts / c.groups
    var open = [Float](repeating: 0, count: c.experts)
    for position in 0..<positions {
      for e in 0..<c.experts { open[e] = scores[position * c.experts + e] + (bias?[e] ?? 0) }
      if c.groups > 1 {
        let ranks = (0..<c.groups).map { group -> Float in
          let best = open[group * size..<(group + 1) * size].sorted(by: >)
          return best[0] + (size > 1 ? best[1] : 0)
        }
        let kept = Set((0..<c.groups).sorted { (-ranks[$0], $0) < (-ranks[$1], $1) }.prefix(c.activeGroups))
        for e in 0..<c.experts where !kept.contains(e / size) { open[e] = -.infinity }
      }
      for _ in 0..<c.active {
        var best = -1
        // A score that is not a number is never better: some expert is chosen all the same.
        for e in 0..<c.experts where open[e] > -.infinity && (best < 0 || open[e] > open[best]) { best = e }
        if best < 0 {
          best = (0..<c.experts).first { !chosen.suffix(chosen.count % c.active).contains($0) } ?? 0
        }
        chosen.append(best)
        open[best] = -.infinity
      }
    }
    return chosen
  }
}
