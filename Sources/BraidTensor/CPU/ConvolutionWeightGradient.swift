import CBraidKernels

extension CPU {
  /// The gradient of a convolution by its weight, [outputChannels, inputChannels / groups, kernel...], from its
  /// input and its output's gradient.
  ///
  /// For each tap the product of the input's columns and the gradient, summed over positions; the input is read
  /// where it lies. Positions are shared among a number of partial sums that depends on the shapes alone.
  static func convolveWeightGradient(
    _ geometry: ConvolutionGeometry, input: UnsafePointer<Float>, outputGradient: UnsafePointer<Float>,
    weightGradient: UnsafeMutablePointer<Float>, accumulates: Bool = false,
    kernels: braid_kernels = braid_kernels_current().pointee
  ) {
    if geometry.isDepthwise {
      return DepthwiseConvolution(geometry, axes: TapSum.forward(geometry), kernels: kernels.conv)
        .weightGradient(
          input: input, outputGradient: outputGradient, into: weightGradient, accumulates: accumulates)
    }
    WeightGradient(geometry, kernels.gemm).run(
      input: input, outputGradient: outputGradient, weightGradient: weightGradient, accumulates: accumulates)
  }
}

private struct WeightGradient {
  let geometry: ConvolutionGeometry
  let kernels: braid_gemm_kernels
  let sum: TapSum
  /// Floats of one tap row's sums, for all taps of a kernel row: [kernel columns x inputs, padded outputs].
  let paddedOutputs: Int
  let lanes: Int
  let regions: [TapSum.Region]

  init(_ geometry: ConvolutionGeometry, _ kernels: braid_gemm_kernels) {
    self.geometry = geometry
    self.kernels = kernels
    sum = TapSum(
      axes: TapSum.forward(geometry), batch: geometry.batch, inputChannels: geometry.inputChannels,
      outputChannels: geometry.outputChannels, groups: geometry.groups, inputPixel: geometry.inputChannels,
      weights: [])
    let quantum = Int(kernels.quantum)
    paddedOutputs = (geometry.groupOutputs + quantum - 1) / quantum * quantum
    regions = sum.regions(pixels: 256, widePixels: 1024, leastTasks: 0)
    let laneFloats = geometry.tapCount * geometry.inputChannels * paddedOutputs
    lanes = max(1, min(regions.count, 16, (16 << 20) / max(laneFloats, 1)))
  }

  var laneFloats: Int { geometry.tapCount * geometry.inputChannels * paddedOutputs }

  func run(
    input: UnsafePointer<Float>, outputGradient: UnsafePointer<Float>,
    weightGradient: UnsafeMutablePointer<Float>, accumulates: Bool
  ) {
    if regions.isEmpty {
      if !accumulates { weightGradient.update(repeating: 0, count: geometry.weightCount) }
      return
    }
    let sums = Workspace(floats: lanes * laneFloats)
    defer { sums.release() }
    parallelFor(lanes) { lane in
      for index in regions.count * lane / lanes..<regions.count * (lane + 1) / lanes {
        let isFirst = index == regions.count * lane / lanes
        add(
          regions[index], input: input, outputGradient: outputGradient,
          into: sums.pointer + lane * laneFloats,
          isFirst: isFirst)
      }
    }
    finish(sums.pointer, weightGradient: weightGradient, accumulates: accumulates)
  }

  /// Whether a kernel row's taps are one matrix, whose rows run over (kernel column, input channel).
  private var joinsColumns: Bool { geometry.groups == 1 && geometry.axes[2].dilation == 1 }

  private func add(
    _ region: TapSum.Region, input: UnsafePointer<Float>, outputGradient: UnsafePointer<Float>,
    into sums: UnsafeMutablePointer<Float>, isFirst: Bool
  ) {
    let width = sum.axes[2]
    let slab = TapSum.Slab(sum, region, input: input)
    defer { slab.release() }
    let (inputs, outputs) = (geometry.groupInputs, geometry.groupOutputs)
    let columns = region.columns.count
    let positions = region.rows.count * columns
    let packed = Workspace(floats: positions * paddedOutputs)
    defer { packed.release() }
    let rowOffsets = (0..<region.rows.count).map { $0 * slab.rowStep }
    let joined = joinsColumns && slab.pixelStride == geometry.inputChannels
    let kernelColumns = geometry.axes[2].kernel
    var none = GEMMEpilogue().kernel()
    withUnsafePointer(to: &none) { none in
      for group in 0..<geometry.groups {
        packGradient(region, outputGradient + group * outputs, into: packed.pointer)
        var block = braid_gemm_block()
        block.m = joined ? kernelColumns * inputs : inputs
        block.n = outputs
        block.k = positions
        block.k_total = positions
        block.a_row = 1
        block.a_column = width.inputStep * slab.pixelStride
        block.b = UnsafePointer(packed.pointer)
        block.epilogue = none
        block.is_first = isFirst ? 1 : 0
        rowOffsets.withUnsafeBufferPointer { offsets in
          block.segments = offsets.count
          block.segment_offsets = offsets.baseAddress
          var at = sums + group * geometry.tapCount * inputs * paddedOutputs
          for d in 0..<geometry.axes[0].kernel {
            for h in 0..<geometry.axes[1].kernel {
              let row =
                d * geometry.axes[0].dilation * slab.planeStride
                + slab.tapRow(h * geometry.axes[1].dilation) * slab.rowStride
              for w in 0..<(joined ? 1 : kernelColumns) {
                block.a =
                  slab.pointer + row + w * geometry.axes[2].dilation * slab.pixelStride + group * inputs
                block.partial = at
                kernels.block(&block)
                at += Int(block.m) * paddedOutputs
              }
            }
          }
        }
      }
    }
  }

  /// Packs a region's gradients, [positions, outputs of one group].
  private func packGradient(
    _ region: TapSum.Region, _ gradient: UnsafePointer<Float>, into packed: UnsafeMutablePointer<Float>
  ) {
    let (depth, height, width) = (sum.axes[0], sum.axes[1], sum.axes[2])
    let channels = geometry.outputChannels, panel = Int(kernels.panel_width), quantum = Int(kernels.quantum)
    let columns = region.columns.count, positions = region.rows.count * columns
    for column in stride(from: 0, to: geometry.groupOutputs, by: panel) {
      let count = min(panel, geometry.groupOutputs - column)
      let packedWidth = (count + quantum - 1) / quantum * quantum
      for (i, row) in region.rows.enumerated() {
        let pixel =
          ((region.image * depth.count + region.depth) * height.count + row) * width.count
          + region.columns.lowerBound
        kernels.pack(
          columns, count, gradient + pixel * channels + column, channels, 1,
          packed + column * positions + i * columns * packedWidth)
      }
    }
  }

  /// Adds the lanes in order and brings [group, taps, inputs, outputs] into the weight's layout.
  private func finish(
    _ sums: UnsafeMutablePointer<Float>, weightGradient: UnsafeMutablePointer<Float>, accumulates: Bool
  ) {
    let (inputs, outputs, taps) = (geometry.groupInputs, geometry.groupOutputs, geometry.tapCount)
    let joined = joinsColumns && geometry.inputChannels % 512 != 0
    let rows = joined ? geometry.axes[2].kernel * inputs : inputs
    let blocks = geometry.groups * taps * inputs / max(rows, 1)
    let tapsPerBlock = rows / max(inputs, 1)
    parallelFor(blocks) { index in
      let block = sums + index * rows * paddedOutputs
      let matrix = Workspace(floats: rows * outputs)
      defer { matrix.release() }
      var none = GEMMEpilogue().kernel()
      kernels.finish(rows, outputs, block, lanes, laneFloats, matrix.pointer, outputs, &none)
      let group = index * tapsPerBlock / taps, firstTap = index * tapsPerBlock % taps
      for output in 0..<outputs {
        for tap in 0..<tapsPerBlock {
          let to = weightGradient + (group * outputs + output) * inputs * taps + firstTap + tap
          for i in 0..<inputs {
            let value = matrix.pointer[(tap * inputs + i) * outputs + output]
            to[i * taps] = accumulates ? to[i * taps] + value : value
          }
        }
      }
    }
  }
}
