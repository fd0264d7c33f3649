import CBraidKernels

extension CPU {
  /// Up to this many rows of x, W is read once as it lies; above, its rows are unpacked into panels.
  static let longestStreamedProduct = 16

  /// C [m, n] = epilogue(x [m, k] Wᵀ); C is contiguous.
  static func product(
    m: Int, x: UnsafePointer<Float>, _ weight: QuantizedMatrix, c: UnsafeMutablePointer<Float>,
    epilogue: GEMMEpilogue = GEMMEpilogue(), kernels: UnsafePointer<braid_kernels> = CPU.kernels
  ) {
    guard m > 0, weight.rows > 0 else { return }
    if m <= longestStreamedProduct {
      let activations = StreamedActivations(m: m, x: x, weight, kernels: kernels)
      defer { activations.release() }
      parallelRanges(weight.rows, minimum: streamedRows(weight)) { range in
        activations.multiply(weight, range, c: c, epilogue: epilogue)
      }
    } else if weight.format == .bf16 && kernels.pointee.gemm.is_native16 != 0 && weight.columns % 2 == 0 {
      panels16(m: m, x: x, weight, c: c, epilogue: epilogue, kernels: kernels)
    } else {
      panels(m: m, x: x, weight, c: c, epilogue: epilogue, kernels: kernels)
    }
  }

  /// C [m, n] = activation(gateScale x Gᵀ + gate bias) * (x Uᵀ + up bias), G and U read once; m is small.
  static func gatedProduct(
    m: Int, x: UnsafePointer<Float>, gate: QuantizedMatrix, up: QuantizedMatrix,
    c: UnsafeMutablePointer<Float>, gateBias: UnsafePointer<Float>?, upBias: UnsafePointer<Float>?,
    gateScale: Float, activation: Activation, kernels: UnsafePointer<braid_kernels> = CPU.kernels
  ) {
    guard m > 0, gate.rows > 0 else { return }
    let n = gate.rows
    let math = kernels.pointee.math
    let forGate = StreamedActivations(m: m, x: x, gate, kernels: kernels)
    defer { forGate.release() }
    let forUp = up.format == gate.format ? forGate : StreamedActivations(m: m, x: x, up, kernels: kernels)
    defer { if up.format != gate.format { forUp.release() } }
    parallelRanges(n, minimum: streamedRows(gate)) { range in
      let other = Workspace(floats: m * range.count)
      defer { other.release() }
      var end = GEMMEpilogue(bias: gateBias)
      if gateScale == 1 { end.activation = activation }
      forGate.multiply(gate, range, c: c, epilogue: end)
      forUp.multiply(
        up, range, c: other.pointer - range.lowerBound, rowStride: range.count,
        epilogue: GEMMEpilogue(bias: upBias))
      for i in 0..<m {
        let row = c + i * n + range.lowerBound
        if gateScale != 1 {
          math.binary_scalar(BRAID_BINARY_MUL, row, gateScale, 0, row, range.count)
          if let (operation, parameter) = activation.unary {
            math.unary(operation, row, row, range.count, parameter, 0)
          }
        }
        math.binary(BRAID_BINARY_MUL, row, other.pointer + i * range.count, row, range.count)
      }
    }
  }

  /// C [m, k] += d [m, n] W: the gradient of `product` for x.
  static func accumulateProduct(
    m: Int, d: UnsafePointer<Float>, _ weight: QuantizedMatrix, c: UnsafeMutablePointer<Float>
  ) {
    let (n, k) = (weight.rows, weight.columns)
    let step = max(16, (1 << 20) / max(k, 1))
    let buffer = Workspace(floats: min(step, n) * k)
    defer { buffer.release() }
    for first in stride(from: 0, to: n, by: step) {
      let count = min(step, n - first)
      parallelRanges(count, minimum: max(1, 16384 / max(1, k))) {
        weight.copyRows(
          first + $0.lowerBound..<first + $0.upperBound, to: buffer.pointer + $0.lowerBound * k)
      }
      gemm(
        m: m, n: k, k: count, a: StridedMatrix(pointer: d + first, rowStride: n),
        b: StridedMatrix(pointer: UnsafePointer(buffer.pointer), rowStride: k), c: c, cRowStride: k,
        epilogue: GEMMEpilogue(residual: UnsafePointer(c), residualRowStride: k))
    }
  }

  /// Rows of W that are worth a task of their own.
  private static func streamedRows(_ weight: QuantizedMatrix) -> Int {
    max(4, 32768 / max(1, weight.rowBytes))
  }

  /// Columns of panels that are unpacked at a time, about as many each time: at most 20 MiB of float32.
  private static func slab(_ n: Int, _ k: Int, _ width: Int) -> Int {
    let most = max(1, (5 << 20) / max(k, 1) / width)
    let panels = (n + width - 1) / width
    let slabs = max(1, (panels + most - 1) / most)
    return max(1, (panels + slabs - 1) / slabs) * width
  }

  private static func panels(
    m: Int, x: UnsafePointer<Float>, _ weight: QuantizedMatrix, c: UnsafeMutablePointer<Float>,
    epilogue: GEMMEpilogue, kernels: UnsafePointer<braid_kernels>
  ) {
    let gemm = kernels.pointee.gemm
    let (n, k, width) = (weight.rows, weight.columns, Int(gemm.panel_width))
    let plan = GEMMPlan(
      m: m, n: n, k: k, a: StridedMatrix(pointer: x, rowStride: k), c: c, cRowStride: n, epilogue: epilogue)
    let slab = slab(n, k, width)
    let workspace = Workspace(floats: PackedMatrix.byteCount(k, min(n, slab), gemm) / 4)
    defer { workspace.release() }
    for column in stride(from: 0, to: n, by: slab) {
      let columns = min(slab, n - column)
      parallelFor((columns + width - 1) / width) { panel in
        let first = panel * width
        let count = min(width, columns - first)
        let out = workspace.pointer + first * k
        if weight.format == .f32 {
          weight.withMemory { numbers, _ in
            let rows = numbers.assumingMemoryBound(to: Float.self) + (column + first) * k
            gemm.pack(k, count, rows, 1, k, out)
          }
        } else {
          let rows = Workspace(floats: count * k)
          defer { rows.release() }
          weight.copyRows(column + first..<column + first + count, to: rows.pointer, kernels: kernels)
          gemm.pack(k, count, rows.pointer, 1, k, out)
        }
      }
      plan.columns(column, columns).run(panels: workspace.pointer, kernels: gemm)
    }
  }

  /// As `panels`, for machines that multiply bfloat16: x is rounded to it.
  private static func panels16(
    m: Int, x: UnsafePointer<Float>, _ weight: QuantizedMatrix, c: UnsafeMutablePointer<Float>,
    epilogue: GEMMEpilogue, kernels: UnsafePointer<braid_kernels>
  ) {
    let gemm = kernels.pointee.gemm
    let (n, k, width) = (weight.rows, weight.columns, Int(gemm.panel_width))
    let slab = slab(n, k, width)
    let workspace = Workspace(floats: PackedMatrix.byteCount(k / 2, min(n, slab), gemm) / 4)
    defer { workspace.release() }
    for column in stride(from: 0, to: n, by: slab) {
      let columns = min(slab, n - column)
      parallelFor((columns + width - 1) / width) { panel in
        let first = panel * width
        weight.withMemory { numbers, _ in
          // A pair of neighbours in a row stays a pair in the panel: moved as one word of 32 bits.
          let pairs = (numbers + (column + first) * 2 * k).assumingMemoryBound(to: Float.self)
          gemm.pack(k / 2, min(width, columns - first), pairs, 1, k / 2, workspace.pointer + first * k / 2)
        }
      }
      var part = epilogue
      part.bias = epilogue.bias.map { $0 + column }
      part.residual = epilogue.residual.map { $0 + column }
      gemm16(
        m: m, n: columns, k: k, a: StridedMatrix(pointer: x, rowStride: k),
        panels: UnsafeRawPointer(workspace.pointer).assumingMemoryBound(to: UInt16.self), c: c + column,
        cRowStride: n, epilogue: part, kernels: gemm)
    }
  }
}

/// A few rows of x in the form that the kernels for one format read.
private struct StreamedActivations {
  let m: Int
  let kernels: UnsafePointer<braid_kernels>
  private let workspace: Workspace

  init(m: Int, x: UnsafePointer<Float>, _ weight: QuantizedMatrix, kernels: UnsafePointer<braid_kernels>) {
    self.m = m
    self.kernels = kernels
    let k = weight.columns
    let bytes = Int(braid_gemv_activation_bytes(weight.format.kernel, k))
    workspace = Workspace(floats: m * bytes / 4)
    for i in 0..<m {
      kernels.pointee.gemv.prepare(weight.format.kernel, k, x + i * k, workspace.pointer + i * bytes / 4)
    }
  }

  func release() { workspace.release() }

  /// Writes the columns `range` of C, whose rows are `rowStride` (W's rows, unless given) floats apart.
  func multiply(
    _ weight: QuantizedMatrix, _ range: Range<Int>, c: UnsafeMutablePointer<Float>, rowStride: Int? = nil,
    epilogue: GEMMEpilogue
  ) {
    let rowStride = rowStride ?? weight.rows
    let out = c + range.lowerBound
    weight.withMemory { numbers, scales in
      var product = braid_gemv_product(
        format: weight.format.kernel, m: m, n: range.count, k: weight.columns,
        activations: workspace.pointer, weights: numbers + range.lowerBound * weight.rowBytes,
        scales: scales.map { $0 + range.lowerBound * weight.scaleBytes }, y: out, y_row: rowStride)
      kernels.pointee.gemv.product(&product)
    }
    guard epilogue.bias != nil || epilogue.residual != nil || epilogue.activation != .none else { return }
    var end = epilogue.kernel(column: range.lowerBound)
    kernels.pointee.gemm.epilogue(m, range.count, out, rowStride, out, rowStride, &end)
  }
}
