import BraidTensor

/// Puts restored tiles, in rows from the top, into a canvas; neighbours fade into each other linearly.
///
/// What is held besides the canvas: the right seam of the last tile and the lower seam of the row of tiles.
struct TileMerger {
  let plan: TilePlan
  let scale: Int
  let canvas: RestoreCanvas
  let pass: RestoreCanvas.Pass
  /// The last tile's share of the seam to its right: [tile rows, seam columns, 3].
  private var right: [Float] = []
  /// The shares of the row of tiles above and of this one in the seams between rows: [seam rows, all columns, 3].
  private var above: [Float] = []
  private var below: [Float] = []

  init(_ plan: TilePlan, scale: Int, canvas: RestoreCanvas, pass: RestoreCanvas.Pass) {
    self.plan = plan
    self.scale = scale
    self.canvas = canvas
    self.pass = pass
  }

  /// Where a tile lies along one axis, in output pixels.
  private struct Span {
    let start: Int
    /// Shared with the tile before; what comes earlier has no weight.
    let before: Range<Int>
    /// Shared with the tile after; what comes later has no weight.
    let after: Range<Int>

    init(_ axis: TilePlan.Axis, _ index: Int, _ scale: Int) {
      start = axis.starts[index] * scale
      let end = start + axis.tile * scale
      func scaled(_ seam: Range<Int>) -> Range<Int> { seam.lowerBound * scale..<seam.upperBound * scale }
      before = index > 0 ? scaled(axis.seams[index - 1]) : start..<start
      after = index + 1 < axis.starts.count ? scaled(axis.seams[index]) : end..<end
    }

    /// The weight of the later tile at a pixel of a seam.
    static func rise(_ pixel: Int, _ seam: Range<Int>) -> Float {
      (Float(pixel - seam.lowerBound) + 0.5) / Float(seam.count)
    }
  }

  /// Takes the tile in row `row` and column `column` of the plan, [1, h scale, w scale, 3]; the order is that of
  /// reading.
  mutating func add(_ tile: Tensor, row: Int, column: Int) {
    let vertical = Span(plan.rows, row, scale)
    let horizontal = Span(plan.columns, column, scale)
    let lineWidth = plan.columns.length * scale * 3
    let tileWidth = plan.columns.tile * scale
    if column == 0 {
      above = below
      below = [Float](repeating: 0, count: vertical.after.count * lineWidth)
    }
    let left = right
    var nextRight = [Float](
      repeating: 0,
      count: (vertical.after.upperBound - vertical.before.lowerBound) * horizontal.after.count * 3)
    // The columns that are complete with this tile.
    let finished = horizontal.before.lowerBound..<horizontal.after.lowerBound
    let top = vertical.before.lowerBound
    let canvas = self.canvas
    let pass = self.pass
    tile.read { values in
      left.withUnsafeBufferPointer { left in
        above.withUnsafeBufferPointer { above in
          below.withUnsafeMutableBufferPointer { below in
            nextRight.withUnsafeMutableBufferPointer { right in
              let (below, right) = (below.baseAddress, right.baseAddress)
              parallelRanges(vertical.after.upperBound - top, minimum: 16) { range in
                withUnsafeTemporaryAllocation(of: Float.self, capacity: max(1, finished.count * 3)) { line in
                  for offset in range {
                    let y = top + offset
                    let from = values + ((y - vertical.start) * tileWidth - horizontal.start) * 3
                    let seamBefore = horizontal.before
                    for x in seamBefore {
                      let weight = Span.rise(x, seamBefore)
                      for c in 0..<3 {
                        let i = (x - finished.lowerBound) * 3 + c
                        line[i] = from[x * 3 + c] * weight + left[offset * seamBefore.count * 3 + i]
                      }
                    }
                    let rest = (seamBefore.upperBound - finished.lowerBound) * 3
                    let restCount = (finished.upperBound - seamBefore.upperBound) * 3
                    if restCount > 0 {
                      (line.baseAddress! + rest).update(
                        from: from + seamBefore.upperBound * 3, count: restCount)
                    }
                    for x in horizontal.after {
                      let weight = 1 - Span.rise(x, horizontal.after)
                      for c in 0..<3 {
                        let i = (x - horizontal.after.lowerBound) * 3 + c
                        right![offset * horizontal.after.count * 3 + i] = from[x * 3 + c] * weight
                      }
                    }
                    let count = finished.count * 3
                    if vertical.before.contains(y) {
                      let weight = Span.rise(y, vertical.before)
                      let other = (y - vertical.before.lowerBound) * lineWidth + finished.lowerBound * 3
                      for i in 0..<count { line[i] = line[i] * weight + above[other + i] }
                    } else if vertical.after.contains(y) {
                      let weight = 1 - Span.rise(y, vertical.after)
                      let other = (y - vertical.after.lowerBound) * lineWidth + finished.lowerBound * 3
                      for i in 0..<count { below![other + i] = line[i] * weight }
                      continue
                    }
                    canvas.store(line.baseAddress!, row: y, columns: finished, pass: pass)
                  }
                }
              }
            }
          }
        }
      }
    }
    right = nextRight
  }
}
