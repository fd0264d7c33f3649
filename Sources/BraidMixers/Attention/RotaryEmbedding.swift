import BraidTensor
import Foundation
import Synchronization

/// A rotary position embedding: which channels turn, by which angles, and how they are stretched for long texts.
///
/// Pair i of `dimensions / 2` turns by position · f_i with f_i = base^(-2 i / dimensions), changed by `scaling`.
/// The angles are taken in float32, as published models are trained and run.
/// Source: Su et al., "RoFormer", 2021; the scalings as in Hugging Face transformers.
public struct RotaryEmbedding: Codable, Hashable, Sendable {
  /// How frequencies change for texts longer than those of the training.
  public enum Scaling: Codable, Hashable, Sendable {
    case none
    /// f / factor.
    case linear(factor: Double)
    /// YaRN (Peng et al., 2023): fast pairs stay, slow ones are divided by the factor, a ramp between.
    ///
    /// Cosines and sines are multiplied by the attention factor, 0.1 ln(factor) + 1 where nil.
    case yarn(
      factor: Double, originalPositions: Int, fast: Double = 32, slow: Double = 1, truncated: Bool = true,
      attentionFactor: Double? = nil)
    /// LongRoPE (Ding et al., 2024): f_i / factors[i]; the loader chooses the short or the long factors.
    case longRope(factors: [Double], attentionFactor: Double)
    /// Llama 3.1: waves longer than originalPositions / low are divided by the factor, shorter than / high stay.
    case llama3(factor: Double, low: Double, high: Double, originalPositions: Int)
  }

  public var base: Double
  /// The channels that turn, the first ones of each head; even.
  public var dimensions: Int
  public var form: RotaryForm
  public var scaling: Scaling

  public init(dimensions: Int, base: Double = 10_000, form: RotaryForm = .halves, scaling: Scaling = .none) {
    self.base = base
    self.dimensions = dimensions
    self.form = form
    self.scaling = scaling
  }

  /// Why the embedding cannot be for heads of that width, or nil.
  func problem(headWidth: Int) -> String? {
    if dimensions < 2 || dimensions % 2 != 0 || dimensions > headWidth {
      return "rotary embedding of \(dimensions) channels of \(headWidth)"
    }
    if !(base > 0 && base.isFinite) { return "rotary base \(base)" }
    switch scaling {
    case .none: return nil
    case .linear(let factor): return factor > 0 ? nil : "rotary factor \(factor)"
    case .yarn(let factor, let original, let fast, let slow, _, _):
      return factor > 0 && original > 0 && fast > 0 && slow > 0 && base != 1
        ? nil : "YaRN of factor \(factor) from \(original) positions"
    case .longRope(let factors, _):
      return factors.count == dimensions / 2 && factors.allSatisfy { $0 > 0 }
        ? nil : "LongRoPE of \(factors.count) factors for \(dimensions / 2) pairs"
    case .llama3(let factor, let low, let high, let original):
      return factor > 0 && low > 0 && high > low && original > 0
        ? nil : "Llama 3 scaling by \(factor), \(low) to \(high), from \(original) positions"
    }
  }

  /// The frequency of each pair, and what cosines and sines are multiplied by.
  public var frequencies: (pairs: [Float], attentionFactor: Double) {
    let plain = (0..<dimensions / 2).map { pow(base, -2 * Double($0) / Double(dimensions)) }
    switch scaling {
    case .none: return (plain.map { Float($0) }, 1)
    case .linear(let factor): return (plain.map { Float($0 / factor) }, 1)
    case .longRope(let factors, let attentionFactor):
      return (zip(plain, factors).map { Float($0 / $1) }, attentionFactor)
    case .yarn(let factor, let original, let fast, let slow, let truncated, let attentionFactor):
      // The pair that makes so many turns over the original positions.
      func pair(_ turns: Double) -> Double {
        Double(dimensions) * log(Double(original) / (turns * 2 * .pi)) / (2 * log(base))
      }
      var (from, to) = (pair(fast), pair(slow))
      if truncated { (from, to) = (from.rounded(.down), to.rounded(.up)) }
      from = max(from, 0)
      to = min(to, Double(dimensions - 1))
      if from == to { to += 0.001 }
      let pairs = plain.enumerated().map { i, f in
        let ramp = min(max((Double(i) - from) / (to - from), 0), 1)
        return Float(f / factor * ramp + f * (1 - ramp))
      }
      return (pairs, attentionFactor ?? (factor <= 1 ? 1 : 0.1 * log(factor) + 1))
    case .llama3(let factor, let low, let high, let original):
      let pairs = plain.map { f in
        let waves = Double(original) * f / (2 * .pi)
        if waves > high { return Float(f) }
        if waves < low { return Float(f / factor) }
        let smooth = (waves - low) / (high - low)
        return Float((1 - smooth) * f / factor + smooth * f)
      }
      return (pairs, 1)
    }
  }

  /// Queries or keys [batch, length, heads, channels] turned; the first of them stands at `position`.
  public func rotated(_ x: Tensor, from position: Int) -> Tensor {
    let (table, offset) = RotaryTables.table(self, position..<position + x.shape[1])
    return x.rotated(table, form: form, offset: offset)
  }

  fileprivate func table(_ positions: Range<Int>) -> RotaryTable {
    let (pairs, factor) = frequencies
    return withoutGradient {
      let angles = Tensor.build([positions.count, pairs.count]) { out in
        for row in 0..<positions.count {
          let position = Float(positions.lowerBound + row)
          for (i, f) in pairs.enumerated() { out[row * pairs.count + i] = position * f }
        }
      }
      return RotaryTable(cosine: angles.cosine() * Float(factor), sine: angles.sine() * Float(factor))
    }
  }
}

/// Tables of the embeddings in use, shared by the layers of a model.
private enum RotaryTables {
  /// Positions from 0 on that a kept table covers at most. Beyond, the latest piece is kept: queries, keys and the
  /// layers of a model ask for the same one.
  private static let most = 1 << 12
  private static let leastPiece = 64
  private struct Tables: Sendable {
    var first: [RotaryEmbedding: RotaryTable] = [:]
    var latest: [RotaryEmbedding: (start: Int, table: RotaryTable)] = [:]
  }
  private static let kept = Mutex(Tables())

  static func table(_ embedding: RotaryEmbedding, _ positions: Range<Int>) -> (RotaryTable, offset: Int) {
    kept.withLock { kept in
      if kept.first.count > 16 { kept.first.removeAll() }
      if kept.latest.count > 16 { kept.latest.removeAll() }
      guard positions.upperBound <= most else {
        if let (start, table) = kept.latest[embedding], start <= positions.lowerBound,
          positions.upperBound <= start + table.cosine.shape[0]
        {
          return (table, positions.lowerBound - start)
        }
        let count = max(positions.count, leastPiece)
        let table = embedding.table(positions.lowerBound..<positions.lowerBound + count)
        kept.latest[embedding] = (positions.lowerBound, table)
        return (table, 0)
      }
      if let table = kept.first[embedding], table.cosine.shape[0] >= positions.upperBound {
        return (table, positions.lowerBound)
      }
      var length = 256
      while length < positions.upperBound { length *= 2 }
      let table = embedding.table(0..<length)
      kept.first[embedding] = table
      return (table, positions.lowerBound)
    }
  }
}
