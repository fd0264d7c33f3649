import BraidTestSupport
import CBraidKernels
import Foundation
import Testing

@testable import BraidTensor

/// The CPU levels of this machine.
let allLevels: [braid_level] = [BRAID_LEVEL_BASE, BRAID_LEVEL_AVX2, BRAID_LEVEL_AVX512].filter {
  braid_kernels_at($0) != nil
}

@Suite struct GEMMTests {
  static let activations: [Activation] = [
    .none, .relu, .leakyReLU(slope: 0.2), .gelu, .geluTanh, .silu, .sigmoid, .tanh,
  ]

  static func truth(_ activation: Activation, _ x: Double) -> Double {
    switch activation {
    case .none: x
    case .relu: max(x, 0)
    case .leakyReLU(let slope): x > 0 ? x : Double(slope) * x
    case .gelu: 0.5 * x * (1 + erf(x / 2.0.squareRoot()))
    case .geluTanh: 0.5 * x * (1 + Foundation.tanh((2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
    case .silu: x / (1 + exp(-x))
    case .sigmoid: 1 / (1 + exp(-x))
    case .tanh: Foundation.tanh(x)
    }
  }

  static func numbers(_ count: Int, seed: UInt64) -> [Float] {
    var generator = Philox(seed: seed)
    return Tensor.normal([max(count, 1)], using: &generator).floats
  }

  /// Runs `body` with two matrices over arrays.
  static func withMatrices(
    _ a: [Float], _ aRow: Int, _ aColumn: Int, _ b: [Float], _ bRow: Int, _ bColumn: Int,
    _ body: (StridedMatrix, StridedMatrix) -> Void
  ) {
    a.withUnsafeBufferPointer { a in
      b.withUnsafeBufferPointer { b in
        body(
          StridedMatrix(pointer: a.baseAddress!, rowStride: aRow, columnStride: aColumn),
          StridedMatrix(pointer: b.baseAddress!, rowStride: bRow, columnStride: bColumn))
      }
    }
  }

  /// Rounding errors of a sum of k float32 terms, taken one after the other, add up as a random walk does.
  static func tolerance(_ k: Int) -> Double { 7e-7 + 3e-8 * Double(k).squareRoot() }

  enum Layout: CaseIterable { case rows, columns, spread }

  /// Where element (i, j) of a rows x columns matrix lies, and how many floats hold it.
  static func strides(_ layout: Layout, _ rows: Int, _ columns: Int) -> (row: Int, column: Int, count: Int) {
    switch layout {
    case .rows: (columns + 3, 1, rows * (columns + 3))
    case .columns: (1, rows + 5, columns * (rows + 5))
    case .spread: (2 * columns + 1, 2, rows * (2 * columns + 1))
    }
  }

  struct Case {
    var m: Int, n: Int, k: Int
    var aLayout = Layout.rows, bLayout = Layout.rows
    var activation = Activation.none
    var hasBias = false, hasResidual = false, inPlace = false
    var scale: Float = 1
    var packed = false
  }

  /// Computes a case, after a run on NaN that leaves NaN in every workspace; returns norm-wise error against
  /// sums in float64, infinite where anything outside C's elements was written.
  static func error(_ test: Case, _ kernels: braid_gemm_kernels) -> Double {
    let (m, n, k) = (test.m, test.n, test.k)
    let aAt = strides(test.aLayout, m, k), bAt = strides(test.bLayout, k, n)
    // Sums of variance 1, the range where activations bend.
    let a = numbers(aAt.count, seed: 1).map { $0 / Float(k).squareRoot() }, b = numbers(bAt.count, seed: 2)
    let bias = numbers(n, seed: 3), rowStride = n + 7
    let residual = numbers(m * rowStride, seed: 4)
    var c = [Float](repeating: .nan, count: m * rowStride)
    let nans = [Float](repeating: .nan, count: max(a.count, b.count))
    func run(_ a: [Float], _ b: [Float]) {
      if test.inPlace { c = residual } else { c = [Float](repeating: .nan, count: m * rowStride) }
      c.withUnsafeMutableBufferPointer { c in
        residual.withUnsafeBufferPointer { residual in
          bias.withUnsafeBufferPointer { bias in
            withMatrices(a, aAt.row, aAt.column, b, bAt.row, bAt.column) { left, right in
              let end = GEMMEpilogue(
                bias: test.hasBias ? bias.baseAddress : nil, activation: test.activation, scale: test.scale,
                residual: test.inPlace
                  ? UnsafePointer(c.baseAddress!) : test.hasResidual ? residual.baseAddress : nil,
                residualRowStride: rowStride)
              if test.packed {
                let packed = PackedMatrix(
                  rows: k, columns: n, source: right.pointer, rowStride: bAt.row, columnStride: bAt.column,
                  kernels: kernels)
                CPU.gemm(m: m, a: left, b: packed, c: c.baseAddress!, cRowStride: rowStride, epilogue: end)
              } else {
                CPU.gemm(
                  m: m, n: n, k: k, a: left, b: right, c: c.baseAddress!, cRowStride: rowStride,
                  epilogue: end, kernels: kernels)
              }
            }
          }
        }
      }
    }
    run(nans, nans)
    run(a, b)
    var actual: [Float] = [], expected: [Double] = []
    for i in 0..<m {
      for j in 0..<n {
        var sum = test.hasBias ? Double(bias[j]) : 0
        for p in 0..<k {
          sum += Double(a[i * aAt.row + p * aAt.column]) * Double(b[p * bAt.row + j * bAt.column])
        }
        let base = test.hasResidual || test.inPlace ? Double(residual[i * rowStride + j]) : 0
        expected.append(base + Double(test.scale) * truth(test.activation, sum))
        actual.append(c[i * rowStride + j])
      }
      for j in n..<rowStride {
        let untouched =
          test.inPlace ? c[i * rowStride + j] == residual[i * rowStride + j] : c[i * rowStride + j].isNaN
        if !untouched { return .infinity }
      }
    }
    return relativeError(actual, expected)
  }

  @Test(arguments: allLevels.map(\.rawValue))
  func oddSizes(level: UInt32) {
    let kernels = braid_kernels_at(braid_level(level))!.pointee.gemm
    let sizes = [
      (1, 1, 1), (1, 7, 5), (2, 33, 17), (3, 64, 100), (4, 65, 31), (5, 8, 9), (7, 24, 180), (14, 32, 3),
      (15, 40, 64), (29, 180, 60), (113, 61, 33), (250, 97, 12), (6, 1000, 48), (300, 1, 20), (1, 300, 2100),
    ]
    for (m, n, k) in sizes {
      for aLayout in Layout.allCases {
        for bLayout in Layout.allCases {
          let test = Case(
            m: m, n: n, k: k, aLayout: aLayout, bLayout: bLayout, hasBias: true, packed: m % 2 == 0)
          #expect(
            Self.error(test, kernels) < Self.tolerance(k),
            "\(m) x \(n) x \(k), A by \(aLayout), B by \(bLayout)")
        }
      }
    }
  }

  @Test(arguments: allLevels.map(\.rawValue))
  func epilogues(level: UInt32) {
    let kernels = braid_kernels_at(braid_level(level))!.pointee.gemm
    for activation in Self.activations {
      for (m, n, k) in [(31, 75, 20), (3, 19, 40), (9, 45, 1500)] {
        for bits in 0..<8 {
          let test = Case(
            m: m, n: n, k: k, bLayout: bits & 1 == 0 ? .rows : .columns, activation: activation,
            hasBias: bits & 1 != 0, hasResidual: bits & 2 != 0, inPlace: bits & 6 == 6,
            scale: bits & 4 != 0 ? 0.5 : 1, packed: bits & 1 != 0)
          #expect(Self.error(test, kernels) < 2e-6, "\(activation) \(m) x \(n) x \(k) \(bits)")
        }
      }
    }
  }

  @Test(arguments: allLevels.map(\.rawValue))
  func longSums(level: UInt32) {
    let kernels = braid_kernels_at(braid_level(level))!.pointee.gemm
    for (m, n, k) in [(37, 50, 1025), (20, 40, 3000), (33, 21, 9001), (5, 4, 70000)] {
      for layout in Layout.allCases {
        let test = Case(
          m: m, n: n, k: k, aLayout: layout, bLayout: .rows, activation: .relu, hasBias: true, inPlace: true)
        #expect(Self.error(test, kernels) < 2e-6, "\(m) x \(n) x \(k) A by \(layout)")
      }
    }
  }

  @Test func rowsThatShareCacheSetsAreCopied() {
    let kernels = braid_kernels_current().pointee.gemm
    let a = Self.numbers(40 * 512, seed: 1), b = Self.numbers(512 * 100, seed: 2)
    for transposed in [false, true] {
      let (m, k) = transposed ? (500, 40) : (40, 500)
      var c = [Float](repeating: .nan, count: m * 100)
      Self.withMatrices(a, transposed ? 1 : 512, transposed ? 512 : 1, b, 100, 1) { a, b in
        CPU.gemm(m: m, n: 100, k: k, a: a, b: b, c: &c, cRowStride: 100, kernels: kernels)
      }
      var expected: [Double] = []
      for i in 0..<m {
        for j in 0..<100 {
          var sum = 0.0
          for p in 0..<k {
            sum += Double(transposed ? a[i + p * 512] : a[i * 512 + p]) * Double(b[p * 100 + j])
          }
          expected.append(sum)
        }
      }
      #expect(relativeError(c, expected) < 1e-6)
    }
  }

  @Test(arguments: [(1, 5), (7, 40), (64, 3)])
  func batches(batch: Int, m: Int) {
    let (n, k) = (37, 19)
    let a = Self.numbers(batch * m * k, seed: 1), b = Self.numbers(batch * n * k, seed: 2)
    for shares in [false, true] {
      var c = [Float](repeating: .nan, count: batch * m * n)
      Self.withMatrices(a, k, 1, b, 1, k) { a, b in
        CPU.gemmBatched(
          m: m, n: n, k: k, a: a, aOffsets: (0..<batch).map { $0 * m * k }, b: b,
          bOffsets: (0..<batch).map { shares ? 0 : $0 * n * k }, c: &c)
      }
      var expected: [Double] = []
      for i in 0..<batch {
        for row in 0..<m {
          for column in 0..<n {
            let right = shares ? 0 : i * n * k
            expected.append(
              (0..<k).reduce(0) {
                $0 + Double(a[i * m * k + row * k + $1]) * Double(b[right + column * k + $1])
              })
          }
        }
      }
      #expect(relativeError(c, expected) < 1e-6)
    }
  }

  @Test func resultsDoNotDependOnThreads() {
    let before = ThreadPool.threads
    defer { ThreadPool.threads = before }
    for (m, n, k) in [(500, 60, 70), (40, 30, 20000), (6, 900, 2000)] {
      let a = Self.numbers(m * k, seed: 1), b = Self.numbers(k * n, seed: 2)
      let results = [1, 2, 5].map { threads in
        ThreadPool.threads = threads
        var c = [Float](repeating: .nan, count: m * n)
        Self.withMatrices(a, k, 1, b, n, 1) { a, b in
          CPU.gemm(m: m, n: n, k: k, a: a, b: b, c: &c, cRowStride: n)
        }
        return c
      }
      #expect(results[0] == results[1] && results[0] == results[2])
    }
  }

  @Test(arguments: allLevels.map(\.rawValue))
  func bfloat16Weights(level: UInt32) {
    let kernels = braid_kernels_at(braid_level(level))!.pointee.gemm
    func rounded(_ x: Float) -> Float {
      let bits = x.bitPattern
      return Float(bitPattern: (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
    }
    for (m, n, k) in [(1, 1, 1), (3, 33, 7), (29, 180, 61), (130, 71, 40), (5, 300, 2050)] {
      for layout in Layout.allCases {
        let at = Self.strides(layout, m, k)
        let a = Self.numbers(at.count, seed: 1), b = Self.numbers(n * k, seed: 2),
          bias = Self.numbers(n, seed: 3)
        var c = [Float](repeating: .nan, count: m * n)
        Self.withMatrices(a, at.row, at.column, b, 1, k) { left, right in
          let packed = PackedMatrix16(
            rows: k, columns: n, source: right.pointer, rowStride: 1, columnStride: k, kernels: kernels)
          bias.withUnsafeBufferPointer { bias in
            CPU.gemm(
              m: m, a: left, b: packed, c: &c, cRowStride: n,
              epilogue: GEMMEpilogue(bias: bias.baseAddress, activation: .relu))
          }
        }
        var expected: [Double] = []
        for i in 0..<m {
          for j in 0..<n {
            var sum = Double(bias[j])
            for p in 0..<k {
              let x = a[i * at.row + p * at.column]
              sum += Double(kernels.is_native16 != 0 ? rounded(x) : x) * Double(rounded(b[j * k + p]))
            }
            expected.append(max(sum, 0))
          }
        }
        #expect(relativeError(c, expected) < Self.tolerance(k), "\(m) x \(n) x \(k) A by \(layout)")
      }
    }
  }

  @Test func emptyProducts() {
    var c: [Float] = [5, 5]
    let nothing = [Float](repeating: .nan, count: 1)
    Self.withMatrices(nothing, 0, 1, nothing, 2, 1) { a, b in
      CPU.gemm(m: 1, n: 2, k: 0, a: a, b: b, c: &c, cRowStride: 2)
    }
    #expect(c == [0, 0])
  }
}
