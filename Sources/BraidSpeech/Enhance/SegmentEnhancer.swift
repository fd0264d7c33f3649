import BraidTensor
import Foundation

/// Enhances a recording in overlapping segments, cross-faded where they meet.
///
/// Segments have the full length until less than two are left; those two are of one length, so that no short rest is
/// normalised by itself. A recording of one segment's length is enhanced as a whole.
struct SegmentEnhancer: BlockEnhancer {
  /// Gives the enhanced segment, all channels of one length.
  typealias Model = ([[Float]]) throws -> [[Float]]

  private let model: Model
  /// Tells of a new limit, in samples, after memory was refused.
  private let onRefusal: (Int) -> Void
  private let overlap: Int
  private let least: Int
  /// The longest segment.
  private var limit: Int
  /// From the start of the next segment on.
  private var queues: [SampleQueue]
  /// The end of the last segment as enhanced, which the next one overlaps.
  private var tails: [[Float]]
  private(set) var segmentCount = 0

  /// - Parameters:
  ///   - limit: samples of the longest segment.
  ///   - least: segments are not made shorter than this where memory is refused.
  init(
    channels: Int, limit: Int, overlap: Int, least: Int, onRefusal: @escaping (Int) -> Void = { _ in },
    model: @escaping Model
  ) {
    precondition(limit >= 1 && overlap >= 0, "SegmentEnhancer: segments of \(limit), overlap \(overlap)")
    (self.limit, self.overlap, self.least) = (limit, overlap, least)
    (self.onRefusal, self.model) = (onRefusal, model)
    queues = [SampleQueue](repeating: SampleQueue(), count: channels)
    tails = [[Float]](repeating: [], count: channels)
  }

  mutating func process(_ channels: [[Float]], isLast: Bool) async throws -> [[Float]] {
    for (c, samples) in channels.enumerated() { queues[c].append(samples) }
    var output = [[Float]](repeating: [], count: queues.count)
    while let (length, shared) = next(isLast: isLast) {
      try Task.checkCancellation()
      let enhanced: [[Float]]
      do {
        enhanced = try model(queues.map { $0.prefix(length) })
      } catch let error as MemoryError {
        let lead = tails[0].count
        guard length > max(least, 2 * lead) else { throw error }
        limit = max(least, 2 * lead, length / 2)
        onRefusal(limit)
        continue
      }
      for c in queues.indices {
        let mixed = Self.joined(tails[c], enhanced[c])
        output[c] += mixed[..<(length - shared)]
        tails[c] = Array(mixed[(length - shared)...])
        queues[c].remove(length - shared)
      }
      segmentCount += 1
      await Task.yield()
    }
    return output
  }

  /// The length of the next segment and what it shares with the one after it; nil where more samples are needed.
  private func next(isLast: Bool) -> (length: Int, shared: Int)? {
    let count = queues[0].count
    let shared = min(overlap, limit / 4)
    // As many as 2 limit - shared: two segments of full length.
    if count - limit >= limit - shared { return (limit, shared) }
    guard isLast, count > 0 else { return nil }
    if count <= limit { return (count, 0) }
    let length = (count + shared + 1) / 2
    return (length, 2 * length - count)
  }

  /// `new`, faded in over the samples of `old` (a raised cosine).
  static func joined(_ old: [Float], _ new: [Float]) -> [Float] {
    var result = new
    for i in old.indices {
      let angle = Double.pi / 2 * (Double(i) + 0.5) / Double(old.count)
      let share = Float(sin(angle) * sin(angle))
      result[i] = old[i] + (new[i] - old[i]) * share
    }
    return result
  }
}
