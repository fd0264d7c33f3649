import BraidTensor
import Foundation

/// How the next token is chosen from logits.
public struct Sampler: Codable, Hashable, Sendable {
  /// What logits are divided by; 0 takes the largest.
  public var temperature: Float
  /// Only so many of the largest take part; all where nil.
  public var topK: Int?
  /// Only the largest whose probabilities reach this sum take part; all where nil.
  public var topP: Float?
  public var seed: UInt64

  /// The largest logit, the first of equals.
  public static let greedy = Sampler(temperature: 0)

  public init(temperature: Float = 1, topK: Int? = nil, topP: Float? = nil, seed: UInt64 = 0) {
    self.temperature = temperature
    self.topK = topK
    self.topP = topP
    self.seed = seed
  }

  /// The token chosen from logits [vocabulary] for a position of the text.
  ///
  /// The draw depends on (seed, position) alone: a text that goes on in another process goes on the same way.
  public func token(_ logits: Tensor, position: Int) -> Int {
    logits.read { values in
      let count = logits.elementCount
      let best = largest(values, count)
      guard temperature > 0, values[best].isFinite else { return best }
      var candidates = (0..<count).filter { values[$0] > -.infinity }
      if let topK, topK < candidates.count { candidates = largest(topK, of: candidates, values) }
      var weights = candidates.map { exp(Double(values[$0] - values[best]) / Double(temperature)) }
      if let topP, topP < 1 {
        let total = weights.reduce(0, +)
        // Together those below this do not reach the part that is left out: only the others are sorted.
        let least = (1 - Double(topP)) * total / Double(weights.count)
        let order = weights.indices.filter { weights[$0] >= least }.sorted {
          (weights[$0], $1) > (weights[$1], $0)
        }
        var sum = 0.0
        let kept = order.prefix { index in
          defer { sum += weights[index] }
          return sum < Double(topP) * total
        }
        candidates = kept.map { candidates[$0] }
        weights = kept.map { weights[$0] }
      }
      let words = Philox(seed: seed, stream: 0x746f_6b65_6e73).block(UInt64(position))
      let unit = Double(UInt64(words.0) << 21 | UInt64(words.1) >> 11) * 0x1p-53
      var left = unit * weights.reduce(0, +)
      for (candidate, weight) in zip(candidates, weights) {
        left -= weight
        if left < 0 { return candidate }
      }
      return best
    }
  }

  /// The `count` candidates with the largest values, largest first; of equals the first.
  private func largest(_ count: Int, of candidates: [Int], _ values: UnsafePointer<Float>) -> [Int] {
    guard count <= 256 else {
      return Array(candidates.sorted { (values[$0], $1) > (values[$1], $0) }.prefix(count))
    }
    var kept: [Int] = []
    for candidate in candidates where kept.count < count || values[candidate] > values[kept[count - 1]] {
      let place = kept.firstIndex { values[$0] < values[candidate] } ?? kept.count
      kept.insert(candidate, at: place)
      if kept.count > count { kept.removeLast() }
    }
    return kept
  }

  private func largest(_ values: UnsafePointer<Float>, _ count: Int) -> Int {
    var best = 0
    for i in 1..<max(count, 1) where values[i] > values[best] || values[best].isNaN { best = i }
    return best
  }
}
