/// Softmax attention of each pixel to the window x window pixels nearest to it: queries, keys and values
/// [B, H, W, heads, D] to [B, H, W, heads, D].
///
/// As in NATTEN: at the border the window is moved inwards, so that it keeps its size; with a dilation d it takes every
/// d-th pixel, of those that are a multiple of d away. An axis with fewer pixels to choose from than the window gives
/// those (NATTEN refuses it).
///
/// - Parameters:
///   - window: odd.
///   - biasTable: [heads, 2 window - 1, 2 window - 1]; a key that lies (dy, dx) dilations after the query gets
///     entry (dy + window - 1, dx + window - 1).
///   - scale: 1 / sqrt(D) where nil.
/// Source: Hassani et al., "Neighborhood attention transformer", 2023, and its dilated form, 2022.
public func neighborhoodAttention(
  _ queries: Tensor, _ keys: Tensor, _ values: Tensor, window: Int, dilation: Int = 1,
  biasTable: Tensor? = nil, scale: Float? = nil
) -> Tensor {
  let shape = queries.shape
  let side = 2 * window - 1
  precondition(
    shape.rank == 5 && keys.shape == shape && values.shape == shape && window > 0 && window % 2 == 1
      && dilation > 0 && biasTable.map { $0.shape == [shape[3], side, side] } ?? true,
    "neighborhoodAttention: queries \(shape), keys \(keys.shape), values \(values.shape), window \(window), "
      + "dilation \(dilation), bias \(biasTable?.shape ?? [])")
  let (height, width) = (shape[1], shape[2])
  let rows = Neighborhood.axis(height, window: window, dilation: dilation)
  let columns = Neighborhood.axis(width, window: window, dilation: dilation)
  let kept = window * window
  let pixels = height * width
  let index = Tensor.uninitialized([pixels, kept], dtype: .int32)
  let numbers = Tensor.build([1, pixels, 1, kept], as: Int32.self) { numbers in
    index.overwrite(as: Int32.self) { index in
      parallelRanges(height, minimum: 8) { range in
        for y in range {
          for x in 0..<width {
            var at = (y * width + x) * kept
            let end = at + kept
            for row in rows[y] {
              for column in columns[x] {
                numbers[at] = Int32(row * width + column)
                let (dy, dx) = ((row - y) / dilation, (column - x) / dilation)
                index[at] = Int32((dy + window - 1) * side + dx + window - 1)
                at += 1
              }
            }
            for rest in at..<end {
              numbers[rest] = -1
              index[rest] = 0
            }
          }
        }
      }
    }
  }
  func flat(_ x: Tensor) -> Tensor { x.reshaped(shape[0], pixels, shape[3], shape[4]) }
  let bias = biasTable.map { (table: $0.reshaped(shape[3], side * side), index: index) }
  return attention(
    "neighborhoodAttention", flat(queries), flat(keys), flat(values), listBias: bias, scale: scale,
    holding: numbers
  ) {
    $0.pattern = .selected(
      SelectedBlocks(
        numbers: UnsafePointer(numbers.storage.pointer.assumingMemoryBound(to: Int32.self)), heads: 1,
        queryBlocks: pixels, kept: kept, queries: 1, keys: 1, shared: true))
  }.reshaped(shape)
}

/// The neighbours of a position along an axis.
public enum Neighborhood {
  /// For every position of an axis, those of its window, rising.
  public static func axis(_ size: Int, window: Int, dilation: Int) -> [[Int]] {
    (0..<size).map { position in
      // The positions that are a multiple of the dilation away.
      let (place, first) = position.quotientAndRemainder(dividingBy: dilation)
      let count = (size - first + dilation - 1) / dilation
      let kept = Swift.min(window, count)
      let start = Swift.min(Swift.max(place - window / 2, 0), count - kept)
      return (start..<start + kept).map { first + $0 * dilation }
    }
  }
}
