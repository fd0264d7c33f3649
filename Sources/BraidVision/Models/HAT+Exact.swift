import BraidNN
import BraidTensor

// Tiles kept in step: every block runs over all tiles before the next one starts, and channel attention takes its
// means over the whole image. The result is that of the untiled run but for the order of sums.

extension HAT: ExactlyTiledModel {
  /// The same as `self(image)` in about `memoryBudget` bytes beside the output: three feature maps, which lie in an
  /// unlinked temporary file where they take more than half of the budget, and the tensors of one tile.
  public func runExactly(
    image: Tensor, memoryBudget: Int, progress: (Double) throws -> Void
  ) throws -> Tensor {
    try withoutGradient {
      var run = try ExactRun(self, image: image, memoryBudget: memoryBudget)
      return try run.output(progress)
    }
  }
}

private struct ExactRun {
  let model: HAT
  let image: Tensor
  let height, width, window, side: Int
  /// The group's input, the present map and the next one.
  var entry, present, next: FeatureMap
  var done = 0
  let total: Int

  init(_ model: HAT, image: Tensor, memoryBudget: Int) throws {
    self.model = model
    self.image = image
    (height, width) = (image.shape[1], image.shape[2])
    window = model.sizeMultiple
    precondition(
      image.shape[0] == 1 && height % window == 0 && width % window == 0,
      "runExactly: \(image.shape) is not one image of multiples of \(window)")
    let channels = model.configuration.channels
    let spills = 3 * height * width * channels * 4 > memoryBudget / 2
    let pixels = max(1, memoryBudget / 4 / model.bytesPerPixel)
    let unit = 2 * window
    side = max(unit, min(256, Int(Double(pixels).squareRoot()) / unit * unit))
    func map(_ model: HAT, _ height: Int, _ width: Int) throws -> FeatureMap {
      try FeatureMap(height: height, width: width, channels: channels, spills: spills)
    }
    entry = try map(model, height, width)
    present = try map(model, height, width)
    next = try map(model, height, width)
    // What one part takes with its surroundings; see the pipeline's own estimate for the quarter.
    let work = min(height, side + unit) * min(width, side + unit) * model.bytesPerPixel
    try Memory.preflight(byteCount: work + work / 4)
    let tiles = ((height + side - 1) / side) * ((width + side - 1) / side)
    total = tiles * (2 + model.groups.reduce(0) { $0 + 3 * $1.blocks.count + 2 })
  }

  mutating func output(_ progress: (Double) throws -> Void) throws -> Tensor {
    let mean = Tensor(HAT.mean)
    try forEachTile(progress) { run, rows, columns in
      let crop = run.extended(rows, columns, by: 1)
      let x = run.model.head(run.crop(run.image, crop) - mean)
      run.entry.store(
        run.inner(run.model.embedNorm(x), of: crop, rows, columns), rows: rows, columns: columns)
    }
    for group in model.groups { try run(group, progress) }

    let scale = model.scale
    let result = Tensor.uninitialized([1, height * scale, width * scale, 3])
    try forEachTile(progress) { run, rows, columns in
      // The convolutions behind reach 4 pixels at most, and x0 is made again from the image.
      let crop = run.extended(rows, columns, by: 8)
      let x = run.model.head(run.crop(run.image, crop) - mean)
      let y = run.model.reconstruct(run.model.body(run.model.norm(run.entry[crop.0, crop.1]), residual: x))
      let top = (rows.lowerBound - crop.0.lowerBound) * scale
      let left = (columns.lowerBound - crop.1.lowerBound) * scale
      result.sliced(axis: 1, rows.lowerBound * scale..<rows.upperBound * scale)
        .sliced(axis: 2, columns.lowerBound * scale..<columns.upperBound * scale)
        .overwrite(
          with: y.sliced(axis: 1, top..<top + rows.count * scale)
            .sliced(axis: 2, left..<left + columns.count * scale))
    }
    return result
  }

  /// From `entry` to `entry`.
  private mutating func run(
    _ group: ResidualHybridAttentionGroup, _ progress: (Double) throws -> Void
  ) throws {
    var isFirst = true
    for block in group.blocks {
      try run(block, from: isFirst ? entry : present, progress)
      swap(&present, &next)
      isFirst = false
    }
    let source = isFirst ? entry : present
    try forEachTile(progress) { run, rows, columns in
      // One window around keeps the grid and covers the overlap.
      let crop = run.extended(rows, columns, by: run.window)
      let t = group.overlapping(source[crop.0, crop.1])
      run.next.store(run.inner(t, of: crop, rows, columns), rows: rows, columns: columns)
    }
    swap(&present, &next)
    try forEachTile(progress) { run, rows, columns in
      let crop = run.extended(rows, columns, by: 1)
      let y = run.inner(group.convolution(run.present[crop.0, crop.1]), of: crop, rows, columns)
      run.next.store(y + run.entry[rows, columns], rows: rows, columns: columns)
    }
    swap(&entry, &next)
  }

  /// From `source` to `next`.
  private mutating func run(
    _ block: HybridAttentionBlock, from source: FeatureMap, _ progress: (Double) throws -> Void
  ) throws {
    let channels = model.configuration.channels
    var sums = [Double](repeating: 0, count: channels)
    func features(_ run: ExactRun, _ rows: Range<Int>, _ columns: Range<Int>) -> Tensor {
      let crop = run.extended(rows, columns, by: 2)
      return run.inner(
        block.convolution.features(block.norm1(source[crop.0, crop.1])), of: crop, rows, columns)
    }
    try forEachTile(progress) { run, rows, columns in
      for (channel, sum) in features(run, rows, columns).sum(axes: [0, 1, 2]).floats.enumerated() {
        sums[channel] += Double(sum)
      }
    }
    let pixels = Double(height * width)
    let means = Tensor(sums.map { Float($0 / pixels) }, shape: [1, 1, 1, channels])
    let weights = block.convolution.attention.weights(means: means) * block.convolutionScale
    try forEachTile(progress) { run, rows, columns in
      let t = source[rows, columns]
      run.next.store(t.addingScaled(features(run, rows, columns), by: weights), rows: rows, columns: columns)
    }
    // Attention goes by the windows of the rolled map. The last tile of a shifted axis holds the wrapped rows too:
    // they stand first in it, so that the operation's own shift and mask apply.
    let shift = block.shift
    let isWhole = shift == 0
    try forEachTile(progress) { run, rows, columns in
      let y = run.pieces(rows, shift, run.height)
      let x = run.pieces(columns, shift, run.width)
      func gather(_ map: FeatureMap) -> Tensor {
        Tensor.concatenated(
          y.map { rows in Tensor.concatenated(x.map { map[rows, $0] }, axis: 2) }, axis: 1)
      }
      let wrap = (y: isWhole || y.count == 1 ? 0 : shift, x: isWhole || x.count == 1 ? 0 : shift)
      let updated = block.feed(
        block.attention(block.norm1(gather(source)), shift: wrap, residual: gather(run.next)))
      var top = 0
      for rows in y {
        var left = 0
        for columns in x {
          run.next.store(
            updated.sliced(axis: 1, top..<top + rows.count).sliced(axis: 2, left..<left + columns.count),
            rows: rows, columns: columns)
          left += columns.count
        }
        top += rows.count
      }
    }
  }

  /// The map's indices that a range of the rolled axis stands for.
  private func pieces(_ range: Range<Int>, _ shift: Int, _ size: Int) -> [Range<Int>] {
    if shift == 0 { return [range] }
    if range.upperBound < size { return [range.lowerBound + shift..<range.upperBound + shift] }
    return [0..<shift, range.lowerBound + shift..<size]
  }

  private mutating func forEachTile(
    _ progress: (Double) throws -> Void, _ body: (inout ExactRun, Range<Int>, Range<Int>) -> Void
  ) throws {
    for top in stride(from: 0, to: height, by: side) {
      for left in stride(from: 0, to: width, by: side) {
        body(&self, top..<min(top + side, height), left..<min(left + side, width))
        done += 1
        try progress(Double(done) / Double(total))
      }
    }
  }

  /// The rectangle with `margin` around it where the image goes on.
  private func extended(_ rows: Range<Int>, _ columns: Range<Int>, by margin: Int) -> (Range<Int>, Range<Int>)
  {
    (
      max(0, rows.lowerBound - margin)..<min(height, rows.upperBound + margin),
      max(0, columns.lowerBound - margin)..<min(width, columns.upperBound + margin)
    )
  }

  private func crop(_ map: Tensor, _ crop: (Range<Int>, Range<Int>)) -> Tensor {
    map.sliced(axis: 1, crop.0).sliced(axis: 2, crop.1).contiguous()
  }

  /// The part of a cropped map that stands for `rows` and `columns`.
  private func inner(
    _ values: Tensor, of crop: (Range<Int>, Range<Int>), _ rows: Range<Int>, _ columns: Range<Int>
  ) -> Tensor {
    let top = rows.lowerBound - crop.0.lowerBound
    let left = columns.lowerBound - crop.1.lowerBound
    return values.sliced(axis: 1, top..<top + rows.count).sliced(axis: 2, left..<left + columns.count)
      .contiguous()
  }
}
