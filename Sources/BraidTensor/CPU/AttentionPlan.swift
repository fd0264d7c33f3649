import CBraidKernels

/// Which blocks of keys the queries of an attention call visit.
enum AttentionPattern: Sendable {
  case dense
  /// Blocks of so many keys at every `stride`-th distance from the query's own, besides window and first keys.
  case strided(block: Int, stride: Int)
  case selected(SelectedBlocks)
}

/// The key blocks that each block of queries visits: numbers [batch, query blocks, heads, kept], -1 for none.
struct SelectedBlocks: @unchecked Sendable {
  var numbers: UnsafePointer<Int32>
  /// 1, the number of key heads, or that of query heads.
  var heads: Int
  var queryBlocks, kept: Int
  /// Queries and keys of a block.
  var queries, keys: Int
  /// Whether one item's numbers hold for the whole batch.
  var shared = false

  /// The numbers for a block of queries, seen from a query head of `count`.
  func list(_ image: Int, _ block: Int, head: Int, of count: Int) -> UnsafeBufferPointer<Int32> {
    let row = ((shared ? 0 : image) * queryBlocks + block) * heads + head * heads / count
    return UnsafeBufferPointer(start: numbers + row * kept, count: kept)
  }
}

/// Biases of listed keys, taken from a table [heads, entries]; for lists of single keys, one for all heads.
struct ListBias: @unchecked Sendable {
  var table: UnsafePointer<Float>
  var entries: Int
  /// The entry of each listed key: [queries, kept].
  var index: UnsafePointer<Int32>
}

/// How an attention call is cut: runs of queries, blocks of keys, and who visits whom.
struct AttentionPlan {
  struct Visit {
    /// The number of the key block.
    var block: Int
    /// Whether all of it is seen whatever the window says.
    var whole: Bool
  }

  let shape: AttentionShape
  /// Keys of a block, the last one's aside.
  let step: Int
  /// Runs of queries; those of a run visit the same blocks.
  let parts: [Range<Int>]
  let blocks: Int

  /// - Parameter rows: queries of a run at most.
  init(_ shape: AttentionShape, rows: Int) {
    self.shape = shape
    let offset = shape.keys - shape.queries
    switch shape.pattern {
    case .dense:
      step = shape.keys <= Int(BRAID_ATTENTION_KEYS) ? Swift.max(1, shape.keys) : 256
      parts = Self.runs(0..<shape.queries, blocks: shape.queries, from: 0, rows: rows)
    case .strided(let block, _):
      step = block
      parts = Self.runs(0..<shape.queries, blocks: block, from: offset, rows: rows)
    case .selected(let selected):
      step = selected.keys
      parts = Self.runs(0..<shape.queries, blocks: selected.queries, from: 0, rows: rows)
    }
    blocks = (shape.keys + step - 1) / step
  }

  /// The range cut where i + from is a multiple of `blocks`, and into runs of `rows` at most.
  private static func runs(_ range: Range<Int>, blocks: Int, from: Int, rows: Int) -> [Range<Int>] {
    var (runs, start) = ([Range<Int>](), range.lowerBound)
    while start < range.upperBound {
      let end = Swift.min(range.upperBound, start + blocks - ((start + from) % blocks + blocks) % blocks)
      let pieces = (end - start + rows - 1) / rows
      for piece in 0..<pieces {
        runs.append(start + (end - start) * piece / pieces..<start + (end - start) * (piece + 1) / pieces)
      }
      start = end
    }
    return runs
  }

  /// The keys of a block.
  func keys(_ block: Int) -> Range<Int> { block * step..<Swift.min(shape.keys, (block + 1) * step) }

  /// The blocks that a run visits, none of them out of its sight.
  func visits(_ image: Int, head: Int, _ part: Range<Int>) -> [Visit] {
    let last = shape.causal ? part.upperBound - 1 + shape.above : shape.keys - 1
    guard last >= 0 else { return [] }
    let end = Swift.min(blocks, last / step + 1)
    // The window of the run's first query starts furthest back.
    let low = shape.window == nil ? 0 : Swift.max(0, part.lowerBound + shape.below)
    let nearest = Swift.max(low / step, 0)
    let first = (shape.always + step - 1) / step
    func seen(_ block: Int) -> Bool { block >= nearest || block < first }
    switch shape.pattern {
    case .dense:
      return (0..<end).lazy.filter(seen).map { Visit(block: $0, whole: false) }
    case .strided(_, let stride):
      let own = (part.lowerBound + shape.keys - shape.queries) / step
      return (0..<end).compactMap { block in
        if (own - block) % stride == 0 { return Visit(block: block, whole: true) }
        return seen(block) ? Visit(block: block, whole: false) : nil
      }
    case .selected(let selected):
      return selected.list(image, part.lowerBound / selected.queries, head: head, of: shape.heads)
        .compactMap { $0 >= 0 && $0 < end ? Visit(block: Int($0), whole: true) : nil }
    }
  }

  /// Where row limits of a visit stand, for rows from `row` on and keys from that block on.
  func limits(_ scores: inout braid_attention_scores, row: Int, _ visit: Visit) {
    let first = visit.block * step
    let windowed = shape.window != nil && !visit.whole
    scores.above = shape.causal ? shape.above + row - first : .max
    scores.below = windowed ? shape.below + row - first : .min
    scores.always = windowed ? Swift.min(keys(visit.block).count, Swift.max(0, shape.always - first)) : 0
  }
}
