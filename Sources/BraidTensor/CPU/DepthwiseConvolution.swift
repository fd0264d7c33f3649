import CBraidKernels

/// A convolution in which every channel has a kernel of its own: computed where the input lies, a row at a time,
/// the taps that fall outside left out.
struct DepthwiseConvolution {
  let axes: [TapSum.Axis]
  let batch: Int
  let channels: Int
  let kernelShape: [Int]
  let kernels: braid_conv_kernels

  init(_ geometry: ConvolutionGeometry, axes: [TapSum.Axis], kernels: braid_conv_kernels) {
    self.axes = axes
    batch = geometry.batch
    channels = geometry.inputChannels
    kernelShape = geometry.axes.map(\.kernel)
    self.kernels = kernels
  }

  /// Weights [channels, 1, taps] as [taps, channels].
  static func pack(_ geometry: ConvolutionGeometry, _ weight: UnsafePointer<Float>) -> DerivedNumbers {
    let (taps, channels) = (geometry.tapCount, geometry.inputChannels)
    let packed = DerivedNumbers(count: taps * channels)
    for tap in 0..<taps {
      for channel in 0..<channels { packed.pointer[tap * channels + channel] = weight[channel * taps + tap] }
    }
    return packed
  }

  func run(
    input: UnsafePointer<Float>, weights: DerivedNumbers, output: UnsafeMutablePointer<Float>,
    epilogue: GEMMEpilogue
  ) {
    let (depth, height, width) = (axes[0], axes[1], axes[2])
    forEachRow(blocks: nil) { image, z, y, stretches, _ in
      let first =
        ((image * depth.output + depth.start + depth.step * z) * height.output + height.start
          + height.step * y) * width.output + width.start
      forEachRun(image, z, y, stretches, input: input) { run, x in
        let pixel = first + width.step * x
        var end = epilogue.kernel()
        end.residual = end.residual.map { $0 + pixel * epilogue.residualRowStride }
        end.residual_row = width.step * epilogue.residualRowStride
        kernels.depthwise(&run, weights.pointer, output + pixel * channels, width.step * channels, &end)
      }
    }
    withExtendedLifetime(weights) {}
  }

  /// The weight's gradient [channels, 1, taps], from axes of the forward direction.
  func weightGradient(
    input: UnsafePointer<Float>, outputGradient: UnsafePointer<Float>,
    into weightGradient: UnsafeMutablePointer<Float>, accumulates: Bool
  ) {
    let taps = kernelShape.reduce(1, *), count = taps * channels
    let (depth, height, width) = (axes[0], axes[1], axes[2])
    // A number of partial sums that depends on the shapes alone.
    let lanes = max(1, min(16, batch * depth.count * height.count * ((width.count + 255) / 256)))
    let sums = Workspace(floats: lanes * count)
    defer { sums.release() }
    sums.pointer.update(repeating: 0, count: lanes * count)
    forEachRow(blocks: lanes) { image, z, y, stretches, lane in
      let first = ((image * depth.output + z) * height.output + y) * width.output
      forEachRun(image, z, y, stretches, input: input) { run, x in
        kernels.depthwise_weights(
          &run, outputGradient + (first + x) * channels, channels, sums.pointer + lane * count)
      }
    }
    for channel in 0..<channels {
      for tap in 0..<taps {
        var sum: Float = 0
        for lane in 0..<lanes { sum += sums.pointer[lane * count + tap * channels + channel] }
        let at = channel * taps + tap
        weightGradient[at] = accumulates ? weightGradient[at] + sum : sum
      }
    }
  }

  /// Calls `body` for every row of outputs, rows longer than 256 in parts, shared among `blocks` parallel tasks.
  private func forEachRow(
    blocks: Int?, _ body: (_ image: Int, _ z: Int, _ y: Int, _ stretches: [Stretch], _ block: Int) -> Void
  ) {
    let (depth, height, width) = (axes[0].count, axes[1].count, axes[2].count)
    let parts = (width + 255) / 256
    let rows = batch * depth * height * parts
    guard rows > 0 else { return }
    let stretches = (0..<parts).map { self.stretches(width * $0 / parts..<width * ($0 + 1) / parts) }
    let work = rows * width / parts * channels
    let tasks = blocks ?? max(1, min(rows, 4 * ThreadPool.threads, work / 8192))
    parallelFor(tasks) { task in
      for row in rows * task / tasks..<rows * (task + 1) / tasks {
        let y = row / parts % height, z = row / parts / height % depth
        body(row / parts / height / depth, z, y, stretches[row % parts], task)
      }
    }
  }

  /// Neighbouring outputs of a row that have the same taps inside the image.
  private struct Stretch {
    var columns: Range<Int>
    var taps: [(offset: Int, kernel: Int)]
    /// The number of taps, where they read as far apart as neighbouring outputs do; 0 elsewhere.
    var rowTaps: Int
  }

  private func stretches(_ columns: Range<Int>) -> [Stretch] {
    let width = axes[2], step = width.inputStep
    // For each tap the outputs that it reaches; the ends of these ranges cut the row.
    let reach = width.taps.map { tap -> Range<Int> in
      let lower = max(columns.lowerBound, (max(0, -tap.offset) + step - 1) / step)
      let last = tap.offset < width.input ? (width.input - 1 - tap.offset) / step + 1 : 0
      return lower..<max(lower, min(columns.upperBound, last))
    }
    var cuts = Set([columns.lowerBound, columns.upperBound])
    for range in reach where !range.isEmpty { cuts.formUnion([range.lowerBound, range.upperBound]) }
    let edges = cuts.sorted()
    return zip(edges, edges.dropFirst()).map { lower, upper in
      let taps = zip(width.taps, reach).filter { $1.contains(lower) }.map(\.0)
      let isRow = taps.indices.dropFirst().allSatisfy {
        taps[$0].offset == taps[$0 - 1].offset + step && taps[$0].kernel == taps[$0 - 1].kernel + 1
      }
      return Stretch(columns: lower..<upper, taps: taps, rowTaps: isRow ? taps.count : 0)
    }
  }

  /// Calls `body` for each stretch of a row, with its taps and its first output.
  private func forEachRun(
    _ image: Int, _ z: Int, _ y: Int, _ stretches: [Stretch], input: UnsafePointer<Float>,
    _ body: (_ run: inout braid_depthwise_run, _ x: Int) -> Void
  ) {
    let (depth, height, width) = (axes[0], axes[1], axes[2])
    let origin = input + image * depth.input * height.input * width.input * channels
    let most = depth.taps.count * height.taps.count * width.taps.count
    withUnsafeTemporaryAllocation(of: Int.self, capacity: 2 * most) { buffer in
      let offsets = buffer.baseAddress!, kernel = offsets + most
      for stretch in stretches {
        var count = 0
        for d in depth.taps {
          let iz = z * depth.inputStep + d.offset
          guard iz >= 0 && iz < depth.input else { continue }
          for h in height.taps {
            let iy = y * height.inputStep + h.offset
            guard iy >= 0 && iy < height.input else { continue }
            let row = (iz * height.input + iy) * width.input + stretch.columns.lowerBound * width.inputStep
            let kernelRow = (d.kernel * kernelShape[1] + h.kernel) * kernelShape[2]
            for w in stretch.taps {
              offsets[count] = (row + w.offset) * channels
              kernel[count] = kernelRow + w.kernel
              count += 1
            }
          }
        }
        var run = braid_depthwise_run(
          count: stretch.columns.count, channels: channels, taps: count, row_taps: stretch.rowTaps,
          offsets: offsets, kernel: kernel, in: origin, in_step: width.inputStep * channels)
        body(&run, stretch.columns.lowerBound)
      }
    }
  }
}
