import CBraidKernels

/// 3 x 3 convolutions of stride 1 by Winograd's F(4 x 4, 3 x 3): 36 products instead of 144 a tile of outputs.
///
/// Dilated down the columns by d, the image is d interleaved ones: each d-th row, from each of the first d.
/// The points 0, +-3/4, +-3/2 and infinity have exact coefficients and, at 180 channels, 1.7 times the rounding
/// error of the direct sum (the usual 0, +-1, +-2: 3.6 times).
/// Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2016.
enum Winograd {
  /// Tiles that one task transforms and multiplies at a time.
  static let taskTiles = 64

  /// The 36 packed matrices [channels summed over, channels of the result] of a weight.
  static func pack(
    _ geometry: ConvolutionGeometry, _ direction: PackedConvolution.Direction,
    _ weight: UnsafePointer<Float>, _ kernels: braid_gemm_kernels
  ) -> [PackedMatrix] {
    let (inputs, outputs) = (geometry.inputChannels, geometry.outputChannels)
    let backward = direction == .backward
    let rows = backward ? outputs : inputs, columns = backward ? inputs : outputs
    let planes = Workspace(floats: 36 * rows * columns)
    defer { planes.release() }
    parallelFor(rows) { row in
      for column in 0..<columns {
        let kernel = weight + (backward ? row * inputs + column : column * inputs + row) * 9
        transform(kernel, flipped: backward, planes.pointer + row * columns + column, plane: rows * columns)
      }
    }
    return (0..<36).map {
      PackedMatrix(
        rows: rows, columns: columns, source: planes.pointer + $0 * rows * columns, rowStride: columns,
        columnStride: 1, kernels: kernels)
    }
  }

  /// Rows of G: powers of the point over the product of its distances to the others.
  private static let weightTransform: [(Double, Double, Double)] = {
    let points = [0, 0.75, -0.75, 1.5, -1.5]
    var rows = points.indices.map { i in
      let scale = points.indices.reduce(1.0) { $1 == i ? $0 : $0 * (points[i] - points[$1]) }
      return (1 / scale, points[i] / scale, points[i] * points[i] / scale)
    }
    rows.append((0, 0, 1))
    return rows
  }()

  /// G g G', in float64.
  private static func transform(
    _ kernel: UnsafePointer<Float>, flipped: Bool, _ out: UnsafeMutablePointer<Float>, plane: Int
  ) {
    @inline(__always) func element(_ y: Int, _ x: Int) -> Double {
      Double(kernel[flipped ? 8 - 3 * y - x : 3 * y + x])
    }
    for (i, a) in weightTransform.enumerated() {
      let c0 = a.0 * element(0, 0) + a.1 * element(1, 0) + a.2 * element(2, 0)
      let c1 = a.0 * element(0, 1) + a.1 * element(1, 1) + a.2 * element(2, 1)
      let c2 = a.0 * element(0, 2) + a.1 * element(1, 2) + a.2 * element(2, 2)
      for (j, b) in weightTransform.enumerated() {
        out[(6 * i + j) * plane] = Float(b.0 * c0 + b.1 * c1 + b.2 * c2)
      }
    }
  }

  static func run(
    _ geometry: ConvolutionGeometry, _ direction: PackedConvolution.Direction, input: UnsafePointer<Float>,
    inputPixel: Int, matrices: [PackedMatrix], output: UnsafeMutablePointer<Float>, epilogue: GEMMEpilogue,
    kernels: braid_kernels
  ) {
    let backward = direction == .backward
    let (vertical, horizontal) = (geometry.axes[1], geometry.axes[2])
    let inputs = matrices[0].rows, outputs = matrices[0].columns
    let inHeight = backward ? vertical.output : vertical.input
    let inWidth = backward ? horizontal.output : horizontal.input
    let height = backward ? vertical.input : vertical.output
    let width = backward ? horizontal.input : horizontal.output
    let phases = vertical.dilation
    // The transposed convolution of padding p is one of padding 2 - p with the kernel turned around.
    let padY = backward ? 2 - vertical.padBefore / phases : vertical.padBefore / phases
    let padX = backward ? 2 - horizontal.padBefore : horizontal.padBefore
    guard geometry.batch > 0, height > 0, width > 0 else { return }

    let tileRows = ((height + phases - 1) / phases + 3) / 4, tileColumns = (width + 3) / 4
    let columnBlocks = (tileColumns + taskTiles - 1) / taskTiles
    let widest = (tileColumns + columnBlocks - 1) / columnBlocks
    let wanted = max(1, geometry.batch * phases * tileRows * columnBlocks / (4 * ThreadPool.threads))
    let rowBlocks = (tileRows - 1) / max(1, min(taskTiles / widest, wanted)) + 1
    let quantum = Int(kernels.gemm.quantum)
    let paddedOutputs = (outputs + quantum - 1) / quantum * quantum
    let most = widest * ((tileRows + rowBlocks - 1) / rowBlocks)
    // Odd multiples of a cache line keep the 36 planes out of one another's cache sets.
    let inPlane = most * inputs / 32 * 32 + 48, outPlane = most * paddedOutputs / 32 * 32 + 48
    parallelFor(geometry.batch * phases * rowBlocks * columnBlocks) { task in
      let (image, phase) = (task / (rowBlocks * columnBlocks)).quotientAndRemainder(dividingBy: phases)
      let rowBlock = task / columnBlocks % rowBlocks, columnBlock = task % columnBlocks
      let rows = tileRows * rowBlock / rowBlocks..<tileRows * (rowBlock + 1) / rowBlocks
      let columns = tileColumns * columnBlock / columnBlocks..<tileColumns * (columnBlock + 1) / columnBlocks
      let tiles = rows.count * columns.count
      let workspace = Workspace(floats: 36 * (inPlane + outPlane) + inputs)
      defer { workspace.release() }
      let transformed = workspace.pointer, products = transformed + 36 * inPlane
      let zeros = products + 36 * outPlane
      zeros.update(repeating: 0, count: inputs)

      var run = braid_winograd_run(
        height: max(0, inHeight - phase + phases - 1) / phases, width: inWidth, channels: inputs, y: 0,
        x: 4 * columns.lowerBound - padX, tiles: columns.count, line: phases * inWidth,
        pixel: inputPixel, zeros: UnsafePointer(zeros))
      for (i, row) in rows.enumerated() {
        run.y = 4 * row - padY
        kernels.conv.winograd_input(
          &run, input + (image * inHeight + phase) * inWidth * inputPixel,
          transformed + i * columns.count * inputs, inPlane)
      }
      var plain = GEMMEpilogue().kernel()
      withUnsafePointer(to: &plain) { plain in
        var block = braid_gemm_block()
        block.m = tiles
        block.n = paddedOutputs
        block.k = inputs
        block.k_total = inputs
        block.a_row = inputs
        block.a_column = 1
        block.c_row = paddedOutputs
        block.epilogue = plain
        for (plane, matrix) in matrices.enumerated() {
          block.a = UnsafePointer(transformed + plane * inPlane)
          block.b = UnsafePointer(matrix.pointer)
          block.c = products + plane * outPlane
          withExtendedLifetime(matrix) { kernels.gemm.block(&block) }
        }
      }
      let pixels = (image * height + phase) * width
      var end = epilogue.kernel()
      end.residual = end.residual.map { $0 + pixels * epilogue.residualRowStride }
      run.height = max(0, height - phase + phases - 1) / phases
      run.width = width
      run.line = phases * width
      run.pixel = outputs
      run.channels = outputs
      run.x = 4 * columns.lowerBound
      for (i, row) in rows.enumerated() {
        run.y = 4 * row
        kernels.conv.winograd_output(
          &run, products + i * columns.count * paddedOutputs, outPlane, paddedOutputs,
          output + pixels * outputs,
          &end)
      }
    }
  }
}
