import BraidTestSupport
import CBraidKernels
import Foundation
import Testing

@testable import BraidTensor

@Suite struct QuantizedMatrixTests {
  static let sizes = [
    (1, 1, 1), (1, 5, 3), (2, 7, 31), (3, 4, 32), (1, 9, 33), (4, 6, 127), (5, 13, 128), (8, 3, 129),
    (1, 67, 1000), (16, 21, 300), (17, 40, 66), (40, 75, 129), (19, 2, 2050), (130, 33, 64),
  ]

  /// x Wᵀ in float64, with the values that the matrix holds.
  static func truth(_ x: [Float], _ w: QuantizedMatrix, m: Int) -> [Double] {
    let (n, k) = (w.rows, w.columns)
    let values = w.dequantised().floats
    return (0..<m * n).map { i in
      (0..<k).reduce(0.0) { $0 + Double(x[i / n * k + $1]) * Double(values[i % n * k + $1]) }
    }
  }

  /// How far products may be from exact ones: of 8 and 4 bits x is rounded to 16 bits, of 16 bits in long products
  /// to bfloat16 where the machine multiplies it.
  static func tolerance(_ format: WeightFormat, m: Int, k: Int, _ kernels: braid_gemm_kernels) -> Double {
    switch format {
    case .f32: GEMMTests.tolerance(k)
    case .bf16: m > CPU.longestStreamedProduct && kernels.is_native16 != 0 ? 4e-3 : GEMMTests.tolerance(k)
    case .int8, .q4_0: m > CPU.longestStreamedProduct ? GEMMTests.tolerance(k) : 6e-5
    }
  }

  @Test(arguments: KernelLevel.available, WeightFormat.allCases)
  func productsHoldAtEveryLevel(level: KernelLevel, format: WeightFormat) {
    var g = Philox(seed: 5)
    for (m, n, k) in Self.sizes {
      let x = Tensor.normal([m, k], using: &g), bias = Tensor.normal([n], using: &g)
      let residual = Tensor.normal([m, n], using: &g)
      let w = QuantizedMatrix(Tensor.normal([n, k], using: &g), as: format)
      // Small sums are differences of large terms: errors are measured against the terms' own size.
      let exact = Self.truth(x.floats, w, m: m)
      poisonMemory(4 * m * k)
      let y = Tensor.full([m, n], .nan)
      y.overwrite(as: Float.self) { out in
        x.read { x in CPU.product(m: m, x: x, w, c: out, kernels: level.table!) }
      }
      let size = (Double(k) * Double(m * n)).squareRoot()
      let error = zip(y.floats, exact).reduce(0) { $0 + pow(Double($1.0) - $1.1, 2) }.squareRoot() / size
      #expect(error < Self.tolerance(format, m: m, k: k, level.kernels.gemm), "\(m) x \(n) x \(k)")
      y.overwrite(as: Float.self) { out in
        x.read { x in
          bias.read { bias in
            residual.read { residual in
              let end = GEMMEpilogue(bias: bias, activation: .relu, residual: residual, residualRowStride: n)
              CPU.product(m: m, x: x, w, c: out, epilogue: end, kernels: level.table!)
            }
          }
        }
      }
      let (b, r) = (bias.floats, residual.floats)
      let ended = exact.indices.map { max(0, exact[$0] + Double(b[$0 % n])) + Double(r[$0]) }
      let second = zip(y.floats, ended).reduce(0) { $0 + pow(Double($1.0) - $1.1, 2) }.squareRoot() / size
      #expect(second < Self.tolerance(format, m: m, k: k, level.kernels.gemm), "\(m) x \(n) x \(k), ended")
    }
  }

  @Test(arguments: KernelLevel.available, WeightFormat.allCases)
  func everyLevelHoldsTheSameNumbers(level: KernelLevel, format: WeightFormat) {
    var numbers = TestNumbers(7)
    for k in [1, 31, 32, 100, 128, 300] {
      var x = numbers.floats(3 * k)
      x[k / 2] = 0
      let kernel = format.kernel
      var results: [[UInt8]] = []
      for kernels in [level.kernels.gemv, KernelLevel.base.kernels.gemv] {
        let (w, s) = (braid_gemv_row_bytes(kernel, k), braid_gemv_scale_bytes(kernel, k))
        var weights = [UInt8](repeating: 0xff, count: 3 * w + 4)
        var scales = [UInt8](repeating: 0xff, count: 3 * s + 4)
        kernels.quantize(kernel, 3, k, x, &weights, &scales)
        #expect(weights.suffix(4) == [255, 255, 255, 255] && scales.suffix(4) == [255, 255, 255, 255])
        var back = [Float](repeating: .nan, count: 3 * (k + 2))
        kernels.dequantize(kernel, 3, k, weights, scales, &back, k + 2)
        for row in 0..<3 {
          #expect(back[row * (k + 2) + k].isNaN && !back[row * (k + 2) + k - 1].isNaN)
        }
        results.append(weights + scales + back.flatMap { withUnsafeBytes(of: $0.bitPattern) { Array($0) } })
      }
      #expect(results[0] == results[1], "\(k)")
    }
  }

  /// Q4_0 by llama.cpp's definition, one block at a time.
  @Test func fourBitBlocksAreThoseOfTheirDefinition() {
    var numbers = TestNumbers(3)
    let x = numbers.floats(2 * 96)
    let values = QuantizedMatrix(Tensor(x, shape: [2, 96]), as: .q4_0).dequantised().floats
    for block in 0..<6 {
      let part = x[block * 32..<block * 32 + 32]
      let largest = part.max { abs($0) < abs($1) }!
      let d = largest / -8
      for (i, v) in part.enumerated() {
        let q = min(15, Int(v * (1 / d) + 8.5))
        #expect(values[block * 32 + i] == Float(q - 8) * Float(Float16(d)))
      }
    }
  }

  @Test func errorsOfTheFormats() {
    var g = Philox(seed: 11)
    let w = Tensor.normal([256, 1024], using: &g), x = Tensor.normal([1, 1024], using: &g)
    let exact = linear(x, w)
    let limits: [WeightFormat: (Double, Double)] = [
      .f32: (0, 1e-6), .bf16: (2e-3, 2.5e-3), .int8: (8e-3, 1e-2), .q4_0: (9e-2, 0.1),
    ]
    for format in WeightFormat.allCases {
      let matrix = QuantizedMatrix(w, as: format)
      let weights = relativeError(matrix.dequantised(), w)
      let products = relativeError(linear(x, matrix), exact)
      print("\(format.rawValue): weights \(weights), products \(products), \(matrix.byteCount) bytes")
      #expect(weights <= limits[format]!.0 && products < limits[format]!.1)
      #expect(Double(matrix.byteCount * 8) <= format.bitsPerWeight * 256 * 1024 + 256 * 32)
    }
  }

  @Test(arguments: WeightFormat.allCases)
  func gradients(_ format: WeightFormat) {
    var g = Philox(seed: 13)
    let w = QuantizedMatrix(Tensor.normal([9, 35], using: &g), as: format)
    for activation in [Activation.none, .silu] {
      // Rounding of x to 16 bits shows in differences; more rows than are streamed do not round.
      let rows = format == .int8 || format == .q4_0 ? 18 : 4
      if format == .bf16 && rows > CPU.longestStreamedProduct { continue }
      let x = Tensor.normal([rows, 35], using: &g), bias = Tensor.normal([9], using: &g)
      let residual = Tensor.normal([rows, 9], using: &g)
      let error = gradientError([x, bias, residual], step: 1e-2) {
        linear($0[0], w, bias: $0[1], activation: activation, residual: $0[2])
      }
      #expect(error < 1e-2)
      let recorded = linear(x.requiringGradient(), w, bias: bias, activation: activation, residual: residual)
      #expect(
        relativeError(recorded, linear(x, w, bias: bias, activation: activation, residual: residual)) < 1e-6)
    }
  }

  @Test(arguments: WeightFormat.allCases, [1, 3, 20])
  func gatedProducts(_ format: WeightFormat, m: Int) {
    var g = Philox(seed: 17)
    let joined = QuantizedMatrix(Tensor.normal([2 * 70, 96], using: &g), as: format)
    let (gate, up) = (joined.rows(0..<70), joined.rows(70..<140))
    let x = Tensor.normal([m, 96], using: &g) * 0.1
    let (gateBias, upBias) = (Tensor.normal([70], using: &g), Tensor.normal([70], using: &g))
    for scale in [1, 0.5] as [Float] {
      let expected =
        (linear(x, gate, bias: gateBias) * scale).silu() * linear(x, up, bias: upBias)
      poisonMemory(1 << 15)
      let y = gatedLinear(x, gate: gate, up: up, gateBias: gateBias, upBias: upBias, gateScale: scale)
      #expect(relativeError(y, expected) < 2e-6)
    }
    let other = QuantizedMatrix(up.dequantised(), as: .bf16)
    #expect(
      relativeError(
        gatedLinear(x, gate: gate, up: other, activation: .geluTanh),
        linear(x, gate, activation: .geluTanh) * linear(x, other)) < 2e-6)
  }

  @Test(arguments: WeightFormat.allCases)
  func rowsAreSlicedAndLookedUp(_ format: WeightFormat) {
    var g = Philox(seed: 19)
    let experts = QuantizedMatrix(Tensor.normal([3, 5, 40], using: &g), as: format)
    let all = experts.dequantised()
    #expect(experts.rows == 15 && experts.columns == 40)
    let part = experts.rows(5..<10)
    #expect(part.dequantised().floats == all.sliced(axis: 0, 5..<10).floats)
    let x = Tensor.normal([2, 40], using: &g)
    #expect(relativeError(linear(x, part), linear(x, experts).sliced(axis: 1, 5..<10)) < 1e-6)
    let ids = Tensor([14, 0, 7, 7] as [Int64], shape: [2, 2])
    let looked = experts.rows(ids)
    #expect(looked.shape == [2, 2, 40] && looked.floats == Tensor.embedding(all, ids).floats)
  }

  @Test func resultsDependOnNeitherThreadsNorOtherRows() {
    let before = ThreadPool.threads
    defer { ThreadPool.threads = before }
    var g = Philox(seed: 23)
    for format in WeightFormat.allCases {
      let w = QuantizedMatrix(Tensor.normal([203, 1500], using: &g), as: format)
      let x = Tensor.normal([7, 1500], using: &g)
      let results = [1, 2, 5].map { threads in
        ThreadPool.threads = threads
        return linear(x, w).floats
      }
      #expect(results[0] == results[1] && results[0] == results[2])
      for row in 0..<7 {
        let one = linear(x.sliced(axis: 0, row..<row + 1), w).floats
        #expect(one == Array(results[0][row * 203..<(row + 1) * 203]))
      }
    }
  }

  @Test func sourcesOfSixteenBitsAndNumbersThatAreNone() {
    var g = Philox(seed: 29)
    let w = Tensor.normal([6, 50], using: &g)
    for dtype in [DType.bfloat16, .float16] {
      let rounded = w.cast(to: dtype)
      for format in WeightFormat.allCases {
        #expect(
          QuantizedMatrix(rounded, as: format).dequantised().floats
            == QuantizedMatrix(rounded.cast(to: .float32), as: format).dequantised().floats)
      }
    }
    let turned = w.transposed()
    #expect(QuantizedMatrix(turned, as: .f32).dequantised().floats == turned.floats)
    var bad = w.floats
    bad[3] = .infinity
    bad[50] = .nan
    for format in WeightFormat.allCases {
      let y = linear(Tensor.ones([1, 50]), QuantizedMatrix(Tensor(bad, shape: [6, 50]), as: format)).floats
      #expect(!y[0].isFinite && y[1].isNaN && y[2].isFinite)
      let x = linear(Tensor(bad, shape: [6, 50]), QuantizedMatrix(w, as: format))
      #expect(!x.floats[0].isFinite && x.floats[6].isNaN && x.floats[12].isFinite)
    }
    #expect(linear(Tensor.zeros([0, 50]), QuantizedMatrix(w, as: .q4_0)).shape == [0, 6])
  }
}
