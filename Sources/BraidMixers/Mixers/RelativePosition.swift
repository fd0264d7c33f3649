/// Tables that say which entry of a learnt bias belongs to a pair of positions in windows.
public enum RelativePosition {
  /// For window attention: entry [i, j], for positions i and j row-major in a window x window square, is
  /// (Δy + window - 1)(2 window - 1) + Δx + window - 1, with Δ = position i - position j. (Swin, HAT.)
  public static func index(window: Int) -> [Int64] {
    var table: [Int64] = []
    table.reserveCapacity(window * window * window * window)
    for i in 0..<window * window {
      for j in 0..<window * window {
        let dy = i / window - j / window
        let dx = i % window - j % window
        table.append(Int64((dy + window - 1) * (2 * window - 1) + dx + window - 1))
      }
    }
    return table
  }

  /// For overlapping attention (HAT): entry [i, j], for query i in the window and key j in the overlapping window,
  /// is (ky - qy + s)(window + overlap - 1) + kx - qx + s, with s = window - overlap + 1. It can be
  /// negative and then counts from the end of the bias table, as published.
  public static func overlappingIndex(window: Int, overlapWindow overlap: Int) -> [Int64] {
    var table: [Int64] = []
    table.reserveCapacity(window * window * overlap * overlap)
    let start = window - overlap + 1
    for i in 0..<window * window {
      for j in 0..<overlap * overlap {
        let dy = j / overlap - i / window
        let dx = j % overlap - i % window
        table.append(Int64((dy + start) * (window + overlap - 1) + dx + start))
      }
    }
    return table
  }
}
