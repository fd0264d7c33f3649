import CBraidKernels

/// A sum over taps: out[start + step * o] = sum over t of in[inputStep * o + offset_t] W_t, zeros outside.
///
/// A convolution is one of these; its gradient by the input (a transposed convolution) is one for each phase
/// of the stride. Each axis has its own taps, and the taps of the whole are their product.
struct TapSum {
  struct Axis {
    /// Elements of the input along this axis.
    var input: Int
    /// Distance in the input between neighbouring o.
    var inputStep: Int
    /// Number of o.
    var count: Int
    /// Where o = 0 lies in the output, and the distance of neighbours there.
    var start: Int
    var step: Int
    /// Elements of the output along this axis.
    var output: Int
    /// Offsets in the input, rising, each with its index in the kernel.
    var taps: [(offset: Int, kernel: Int)]

    var reach: Int { taps.last!.offset - taps.first!.offset }

    /// The o whose taps all lie in the input.
    var inside: Range<Int> {
      let first = max(0, (inputStep - 1 - taps.first!.offset) / inputStep)
      let end = min(count, max(0, input - taps.last!.offset + inputStep - 1) / inputStep)
      return first < end ? first..<end : 0..<0
    }
  }

  var axes: [Axis]
  var batch: Int
  var inputChannels: Int
  var outputChannels: Int
  var groups: Int
  /// Floats from one pixel of the input to the next.
  var inputPixel: Int
  /// One packed matrix [taps x group inputs, group outputs] a group.
  var weights: [PackedMatrix]

  /// The axes of a convolution from input to output.
  static func forward(_ geometry: ConvolutionGeometry) -> [Axis] {
    geometry.axes.map { axis in
      Axis(
        input: axis.input, inputStep: axis.stride, count: axis.output, start: 0, step: 1, output: axis.output,
        taps: (0..<axis.kernel).map { ($0 * axis.dilation - axis.padBefore, $0) })
    }
  }

  /// The axes of a convolution's transpose, from the output's gradient to the input's, for each phase of the
  /// stride: x = phase + stride * o gets y = (x + pad - dilation * k) / stride for every k that divides.
  static func backward(_ geometry: ConvolutionGeometry) -> [[Axis]] {
    let phases = geometry.axes.map { axis in
      (0..<axis.stride).map { phase in
        var taps: [(offset: Int, kernel: Int)] = []
        for k in (0..<axis.kernel).reversed() {
          let distance = phase + axis.padBefore - axis.dilation * k
          if distance % axis.stride == 0 { taps.append((distance / axis.stride, k)) }
        }
        // A phase that no tap reaches reads outside only, which is zero.
        if taps.isEmpty { taps = [(axis.output, 0)] }
        return Axis(
          input: axis.output, inputStep: 1,
          count: max(0, (axis.input - phase + axis.stride - 1) / axis.stride),
          start: phase, step: axis.stride, output: axis.input, taps: taps)
      }
    }
    return phases[0].flatMap { d in phases[1].flatMap { h in phases[2].map { w in [d, h, w] } } }
  }

  /// The taps in the order of the packed rows, as indices into the kernel's elements.
  static func tapOrder(_ axes: [Axis], kernel: [Int]) -> [Int] {
    axes[0].taps.flatMap { d in
      axes[1].taps.flatMap { h in
        axes[2].taps.map { w in (d.kernel * kernel[1] + h.kernel) * kernel[2] + w.kernel }
      }
    }
  }

  /// Pixels of the output that one task computes, about: where it copies its input, and where it reads it in place.
  static let taskPixels = 168, widePixels = 672

  func run(input: UnsafePointer<Float>, output: UnsafeMutablePointer<Float>, epilogue: GEMMEpilogue) {
    guard batch > 0, axes.allSatisfy({ $0.count > 0 }) else { return }
    let kernels = weights[0].kernels
    let groupOutputs = outputChannels / groups
    let regions = regions(
      pixels: Self.taskPixels, widePixels: Self.widePixels, leastTasks: 4 * ThreadPool.threads)
    let panels = (groupOutputs + Int(kernels.panel_width) - 1) / Int(kernels.panel_width)
    let columnBlocks = max(1, min(panels, 4 * ThreadPool.threads / regions.count))
    parallelFor(regions.count * columnBlocks) { task in
      let (index, columns) = task.quotientAndRemainder(dividingBy: columnBlocks)
      let first = panels * columns / columnBlocks * Int(kernels.panel_width)
      let last = min(groupOutputs, panels * (columns + 1) / columnBlocks * Int(kernels.panel_width))
      run(regions[index], channels: first..<last, input: input, output: output, epilogue: epilogue)
    }
  }

  /// The output cut into regions of about `pixels` pixels; of about `widePixels` inside, where no tap reaches over
  /// an edge, so that the input is read in place and only the margins are copied.
  ///
  /// - Parameter leastTasks: regions are smaller rather than fewer than this (0: by the shapes alone).
  func regions(pixels: Int, widePixels: Int, leastTasks: Int) -> [Region] {
    let (depth, height, width) = (axes[0], axes[1], axes[2])
    let inside = width.inside
    // Narrow images are copied whole; so are pixels that would share cache sets (see `Slab`).
    let splits = inside.count >= 32 && inputPixel % 512 != 0
    let margins = splits ? [0..<inside.lowerBound, inside.upperBound..<width.count] : []
    let middle = splits ? inside : 0..<width.count
    var regions: [Region] = []
    func add(_ rows: Range<Int>, _ columns: Range<Int>, pixels: Int) {
      guard !rows.isEmpty, !columns.isEmpty else { return }
      let blocks = columns.count > 2 * pixels ? (columns.count + pixels - 1) / pixels : 1
      let blockWidth = (columns.count + blocks - 1) / blocks
      var count = max(1, min(rows.count, pixels / blockWidth))
      let others = batch * depth.count * blocks
      if others * ((rows.count + count - 1) / count) < leastTasks {
        count = max(1, min(count, rows.count * others / leastTasks))
      }
      let rowBlocks = (rows.count + count - 1) / count
      for image in 0..<batch {
        for d in 0..<depth.count {
          for h in 0..<rowBlocks {
            for w in 0..<blocks {
              regions.append(
                Region(
                  image: image, depth: d, rows: rows.part(h, of: rowBlocks),
                  columns: columns.part(w, of: blocks)))
            }
          }
        }
      }
    }
    let rows = splits ? height.inside : 0..<height.count
    add(rows, middle, pixels: splits ? widePixels : pixels)
    if splits {
      add(0..<rows.lowerBound, middle, pixels: pixels)
      add(rows.upperBound..<height.count, middle, pixels: pixels)
      for margin in margins { add(0..<height.count, margin, pixels: pixels) }
    }
    return regions
  }

  private func run(
    _ region: Region, channels: Range<Int>, input: UnsafePointer<Float>, output: UnsafeMutablePointer<Float>,
    epilogue: GEMMEpilogue
  ) {
    let (depth, height, width) = (axes[0], axes[1], axes[2])
    let groupInputs = inputChannels / groups, groupOutputs = outputChannels / groups
    let slab = Slab(self, region, input: input)
    defer { slab.release() }
    let joined = joinsColumns && slab.pixelStride == inputChannels
    let offsets = segmentOffsets(slab, joined: joined)
    let pixel =
      ((region.image * depth.output + depth.start + depth.step * region.depth) * height.output + height.start
        + height.step * region.rows.lowerBound) * width.output + width.start + width.step
      * region.columns.lowerBound
    offsets.withUnsafeBufferPointer { offsets in
      for group in 0..<groups {
        let first = group * groupOutputs + channels.lowerBound
        var end = epilogue.kernel(column: first)
        end.residual = end.residual.map { $0 + pixel * epilogue.residualRowStride }
        end.residual_row = width.step * epilogue.residualRowStride
        withUnsafeMutablePointer(to: &end) { end in
          var block = braid_gemm_block()
          block.m = region.columns.count
          block.n = channels.count
          block.k = weights[group].rows
          block.a = slab.pointer + group * groupInputs
          block.a_row = width.inputStep * slab.pixelStride
          block.a_column = 1
          block.segments = offsets.count
          block.segment_offsets = offsets.baseAddress
          block.groups = region.rows.count
          block.a_group = slab.rowStep
          block.c_group = height.step * width.output * outputChannels
          block.residual_group = height.step * width.output * epilogue.residualRowStride
          block.c_row = width.step * outputChannels
          if region.rows.count > region.columns.count {
            // A margin: the pixels of a column are the rows of the product.
            swap(&block.m, &block.groups)
            swap(&block.a_row, &block.a_group)
            swap(&block.c_row, &block.c_group)
            swap(&end.pointee.residual_row, &block.residual_group)
          }
          block.b = UnsafePointer(weights[group].pointer) + channels.lowerBound * weights[group].rows
          block.k_total = weights[group].rows
          block.c = output + pixel * outputChannels + first
          block.epilogue = UnsafePointer(end)
          withExtendedLifetime(weights) { weights[group].kernels.block(&block) }
        }
      }
    }
  }

  /// Whether the taps of a kernel row read neighbouring pixels, so that they are one segment.
  private var joinsColumns: Bool {
    let taps = axes[2].taps
    return groups == 1 && taps.indices.dropFirst().allSatisfy { taps[$0].offset == taps[$0 - 1].offset + 1 }
  }

  private func segmentOffsets(_ slab: Slab, joined: Bool) -> [Int] {
    var offsets: [Int] = []
    for d in axes[0].taps {
      for h in axes[1].taps {
        let row =
          (d.offset - axes[0].taps[0].offset) * slab.planeStride
          + slab.tapRow(h.offset - axes[1].taps[0].offset) * slab.rowStride
        for w in joined ? axes[2].taps[..<1] : axes[2].taps[...] {
          offsets.append(row + (w.offset - axes[2].taps[0].offset) * slab.pixelStride)
        }
      }
    }
    return offsets
  }

  /// Some rows of one output plane, by o.
  struct Region {
    var image: Int
    var depth: Int
    var rows: Range<Int>
    var columns: Range<Int>
  }

  /// The part of the input that a region reads, with its padding: the input itself where nothing is outside.
  struct Slab {
    let pointer: UnsafePointer<Float>
    let planeStride: Int, rowStride: Int, pixelStride: Int
    /// From one of the region's rows to the next.
    let rowStep: Int
    /// The rows of a plane that were copied, by their distance from the first; nil where all are there.
    private let rows: [Int]?
    private let workspace: Workspace?

    /// The number of the row that lies `distance` below the region's first, for its first row of outputs.
    func tapRow(_ distance: Int) -> Int { rows.map { $0.firstIndex(of: distance)! } ?? distance }

    init(_ sum: TapSum, _ region: Region, input: UnsafePointer<Float>) {
      let lower = [region.depth, region.rows.lowerBound, region.columns.lowerBound]
      let counts = [1, region.rows.count, region.columns.count]
      var first = [0, 0, 0], sizes = [0, 0, 0], isInside = true
      for (i, axis) in sum.axes.enumerated() {
        first[i] = lower[i] * axis.inputStep + axis.taps[0].offset
        sizes[i] = (counts[i] - 1) * axis.inputStep + axis.reach + 1
        isInside = isInside && first[i] >= 0 && first[i] + sizes[i] <= axis.input
      }
      let channels = sum.inputChannels
      let (height, width) = (sum.axes[1].input, sum.axes[2].input)
      let source = sum.inputPixel
      let image = input + region.image * sum.axes[0].input * height * width * source
      // Pixels a multiple of 2 KiB apart would fall into the same few sets of the first-level cache.
      let spreads = source % 512 == 0
      if isInside && !spreads {
        pixelStride = source
        rowStride = width * source
        planeStride = height * rowStride
        rowStep = sum.axes[1].inputStep * rowStride
        rows = nil
        pointer = image + first[0] * planeStride + first[1] * rowStride + first[2] * source
        workspace = nil
        return
      }
      pixelStride = channels % 512 == 0 ? channels + 16 : channels
      rowStride = sizes[2] * pixelStride
      // Where dilated taps skip most rows, only those that they reach are copied, one row of outputs after the other.
      let taps = sum.axes[1].taps.map { $0.offset - sum.axes[1].taps[0].offset }
      if counts[1] * taps.count < sizes[1] {
        rows = (0..<counts[1]).flatMap { row in taps.map { row * sum.axes[1].inputStep + $0 } }
        rowStep = taps.count * rowStride
      } else {
        rows = nil
        rowStep = sum.axes[1].inputStep * rowStride
      }
      let distances = rows ?? Array(0..<sizes[1])
      planeStride = distances.count * rowStride
      let workspace = Workspace(floats: sizes[0] * planeStride)
      self.workspace = workspace
      pointer = UnsafePointer(workspace.pointer)
      let columns = max(0, first[2])..<max(0, first[2], min(width, first[2] + sizes[2]))
      for d in 0..<sizes[0] {
        for (h, distance) in distances.enumerated() {
          let row = workspace.pointer + d * planeStride + h * rowStride
          let (z, y) = (first[0] + d, first[1] + distance)
          guard (0..<sum.axes[0].input).contains(z), (0..<height).contains(y), !columns.isEmpty else {
            row.update(repeating: 0, count: rowStride)
            continue
          }
          let line = image + ((z * height + y) * width + columns.lowerBound) * source
          let before = (columns.lowerBound - first[2]) * pixelStride
          row.update(repeating: 0, count: before)
          if pixelStride == source {
            (row + before).update(from: line, count: columns.count * channels)
          } else {
            for x in 0..<columns.count {
              (row + before + x * pixelStride).update(from: line + x * source, count: channels)
            }
          }
          let end = before + columns.count * pixelStride
          (row + end).update(repeating: 0, count: rowStride - end)
        }
      }
    }

    func release() { workspace?.release() }
  }
}

extension Range<Int> {
  /// The part `index` of this range cut into `count` about equal parts.
  fileprivate func part(_ index: Int, of count: Int) -> Range<Int> {
    lowerBound + self.count * index / count..<lowerBound + self.count * (index + 1) / count
  }
}
