import BraidTensor
import Foundation

/// One run of a pipeline: tiles, merging, progress.
struct PipelineRun {
  private let pipeline: RestorePipeline
  private let options: RestoreOptions
  private let passes: Int
  private let progress: RestorePipeline.Progress
  private let budget: Int
  private let start = Date()
  private var passesDone = 0
  /// Set where memory was refused; later passes keep it.
  private var smallerLimit: (height: Int, width: Int)?

  init(
    _ pipeline: RestorePipeline, _ options: RestoreOptions, passes: Int,
    _ progress: @escaping RestorePipeline.Progress
  ) {
    self.pipeline = pipeline
    self.options = options
    self.passes = passes
    self.progress = progress
    budget = options.memoryBudget ?? MemoryBudget.standard
  }

  /// Restores `source` into the channels of `canvas` that `pass` names.
  mutating func paint(
    _ source: RestoreSource, on canvas: RestoreCanvas, _ pass: RestoreCanvas.Pass
  ) async throws {
    defer { passesDone += 1 }
    if options.exact, try await paintExactly(source, on: canvas, pass) { return }
    var limit = smallerLimit ?? tileLimit(source)
    while true {
      let plan = self.plan(source, limit: limit)
      do {
        return try await paint(source, plan, on: canvas, pass)
      } catch let error as MemoryError {
        let unit = pipeline.model.sizeMultiple
        let (height, width) = (plan.rows.tile, plan.columns.tile)
        guard height > unit || width > unit else { throw error }
        // Both sides are halved; of a long tile only the longer.
        limit = (
          2 * height > width ? max(unit, height / 2) : height,
          2 * width > height ? max(unit, width / 2) : width
        )
        smallerLimit = limit
        progress(
          .note(
            "not enough memory for a tile of \(width) x \(height) pixels; going on with \(limit.width) x \(limit.height)"
          ))
      }
    }
  }

  /// The largest tile that options and budget allow.
  private func tileLimit(_ source: RestoreSource) -> (height: Int, width: Int) {
    let (height, width) = (source.paddedHeight, source.paddedWidth)
    switch options.tiling {
    case .whole: return (height, width)
    case .side(let side): return (min(height, side), min(width, side))
    case .automatic:
      return TilePlan.limit(height: height, width: width, model: pipeline.model, budget: budget)
    }
  }

  private func plan(_ source: RestoreSource, limit: (height: Int, width: Int)) -> TilePlan {
    TilePlan(
      height: source.paddedHeight, width: source.paddedWidth, model: pipeline.model, limit: limit,
      overlap: options.overlap)
  }

  private func paint(
    _ source: RestoreSource, _ plan: TilePlan, on canvas: RestoreCanvas, _ pass: RestoreCanvas.Pass
  ) async throws {
    let model = pipeline.model
    var merger = TileMerger(plan, scale: model.scale, canvas: canvas, pass: pass)
    // The estimate and a quarter: blocks are rounded up, and address space is lost between them. Then the seams.
    let work = plan.tilePixels * model.bytesPerPixel
    let seam = plan.rows.seams.map(\.count).max() ?? 0
    let needed =
      work + work / 4 + 2 * seam * plan.columns.length * model.scale * model.scale * 12
    report(0, of: plan.count)
    var done = 0
    for (row, top) in plan.rows.starts.enumerated() {
      for (column, left) in plan.columns.starts.enumerated() {
        try Task.checkCancellation()
        // Packed for the kernels, a convolution's weights take up to four times their own room.
        let packed = pipeline.packing.isDone ? 0 : 3 * 4 * model.parameters.parameterCount
        try pipeline.preflight(needed + packed)
        let tile = source.tile(
          rows: top..<top + plan.rows.tile, columns: left..<left + plan.columns.tile)
        merger.add(try restored(tile) { model($0) }, row: row, column: column)
        pipeline.packing.isDone = true
        done += 1
        report(done, of: plan.count)
        await Task.yield()
      }
    }
  }

  /// What the model makes of a picture or tile, averaged over its flips and turns where that is asked for.
  private func restored(_ image: Tensor, _ model: (Tensor) throws -> Tensor) throws -> Tensor {
    let scale = pipeline.model.scale
    func checked(_ image: Tensor) throws -> Tensor {
      try Task.checkCancellation()
      let result = try model(image)
      let expected: Shape = [1, image.shape[1] * scale, image.shape[2] * scale, 3]
      precondition(
        result.shape == expected,
        "\(type(of: pipeline.model).architecture): \(image.shape) became \(result.shape), not \(expected)")
      return result
    }
    return try withoutGradient {
      options.selfEnsemble ? try SelfEnsemble.average(of: image, checked) : try checked(image)
    }
  }

  /// Restores by the model's own exact method. False where plain tiles give the same: the picture fits in memory, or
  /// the model looks no further than its neighbourhood.
  private func paintExactly(
    _ source: RestoreSource, on canvas: RestoreCanvas, _ pass: RestoreCanvas.Pass
  ) async throws -> Bool {
    guard let model = pipeline.model as? any ExactlyTiledModel else {
      if passesDone == 0, pipeline.model.receptiveRadius == nil,
        plan(source, limit: tileLimit(source)).count > 1
      {
        progress(
          .note(
            "\(type(of: pipeline.model).architecture) has no exact tiles; tiles may differ where they meet"))
      }
      return false
    }
    let plan = plan(source, limit: tileLimit(source))
    if plan.count == 1 { return false }
    let (pixels, scale) = (source.paddedHeight * source.paddedWidth, model.scale)
    // The picture and its result, as floats.
    try pipeline.preflight(pixels * 12 * (1 + scale * scale))
    // A tile size that was asked for limits the memory of the parts too.
    var budget = if case .side = options.tiling { plan.tilePixels * model.bytesPerPixel } else { self.budget }
    let least = 8 * model.sizeMultiple * model.sizeMultiple * model.bytesPerPixel
    let image = source.tile(rows: 0..<source.paddedHeight, columns: 0..<source.paddedWidth)
    let variants = options.selfEnsemble ? SelfEnsemble.count : 1
    func attempt() throws -> Tensor {
      var variant = 0
      report(0, of: 1)
      return try restored(image) { image in
        defer { variant += 1 }
        return try model.runExactly(image: image, memoryBudget: budget) { fraction in
          try Task.checkCancellation()
          report((Double(variant) + fraction) / Double(variants))
        }
      }
    }
    var result: Tensor?
    while result == nil {
      do {
        result = try attempt()
      } catch let error as MemoryError {
        guard budget / 2 >= least else { throw error }
        progress(
          .note("not enough memory for parts of \(budget >> 20) MiB; going on with \(budget / 2 >> 20) MiB"))
        budget /= 2
      }
    }
    let whole = TilePlan(height: source.paddedHeight, width: source.paddedWidth, model: pipeline.model)
    var merger = TileMerger(whole, scale: model.scale, canvas: canvas, pass: pass)
    merger.add(result!, row: 0, column: 0)
    report(1, of: 1)
    return true
  }

  private func report(_ done: Int, of count: Int) {
    report(Double(done) / Double(count), tilesDone: done, of: count)
  }

  /// Reports that `fraction` of this pass is done.
  private func report(_ fraction: Double, tilesDone: Int = 0, of count: Int = 1) {
    let elapsed = Date().timeIntervalSince(start)
    let total = (Double(passesDone) + fraction) / Double(passes)
    progress(
      .progress(
        RestoreProgress(
          fraction: total, tilesDone: passesDone * count + tilesDone, tileCount: passes * count,
          secondsElapsed: elapsed, secondsLeft: total > 0 ? elapsed / total * (1 - total) : nil)))
  }
}
