import BraidTestSupport
import CBraidKernels
import Foundation
import Testing

@testable import BraidTensor

@Suite struct NormalizationTests {
  /// (x - mean) / sqrt(variance + epsilon) over a set of positions.
  private static func normalised(_ x: [Double], _ sets: [[Int]], epsilon: Double, centred: Bool = true)
    -> [Double]
  {
    var y = x
    for set in sets {
      let mean = centred ? set.reduce(0) { $0 + x[$1] } / Double(set.count) : 0
      let variance = set.reduce(0) { $0 + (x[$1] - mean) * (x[$1] - mean) } / Double(set.count)
      for i in set { y[i] = (x[i] - mean) / (variance + epsilon).squareRoot() }
    }
    return y
  }

  /// The fused pass over strided rows at every level, and the recorded form with its gradient.
  @Test(arguments: allLevels.map(\.rawValue), [(1, 40), (2, 36), (4, 64)])
  func gated(level: UInt32, groups: (Int, Int)) {
    let (groups, channels) = groups
    var g = Philox(seed: 3)
    func normal(_ shape: Shape) -> Tensor { .normal(shape, using: &g) }
    let y = normal([1, 7, channels])
    let joined = normal([1, 7, 2 * channels + 3])
    let x = joined.sliced(axis: 2, 3..<channels + 3),
      gate = joined.sliced(axis: 2, channels + 3..<2 * channels + 3)
    let skip = normal([channels]), weight = normal([channels])
    func numbers(_ t: Tensor) -> [Double] { t.contiguous().floats.map(Double.init) }
    let (s, w) = (numbers(skip), numbers(weight))
    let h = zip(zip(numbers(y), numbers(x)), numbers(gate)).enumerated().map { i, row in
      (row.0.0 + s[i % channels] * row.0.1) * row.1 / (1 + exp(-row.1))
    }
    let size = channels / groups
    let sets = (0..<7 * groups).map { Array($0 * size..<($0 + 1) * size) }
    let truth = Self.normalised(h, sets, epsilon: 1e-5, centred: false).enumerated().map {
      $1 * w[$0 % channels]
    }
    var out = [Float](repeating: .nan, count: 7 * channels)
    let kernel = braid_kernels_at(braid_level(level)).pointee.norm
    let (px, pg) = (x.contiguous().floats, gate.contiguous().floats)
    y.read { y in
      px.withUnsafeBufferPointer { x in
        pg.withUnsafeBufferPointer { gate in
          skip.read { skip in
            weight.read { weight in
              out.withUnsafeMutableBufferPointer { out in
                var norm = braid_gated_norm(
                  rows: 7, n: size, groups: groups, y: y, x: x.baseAddress, gate: gate.baseAddress,
                  y_row: channels, x_row: channels, gate_row: channels, skip: skip, gamma: weight,
                  epsilon: 1e-5,
                  out: out.baseAddress)
                kernel.gated_rms_norm(&norm)
              }
            }
          }
        }
      }
    }
    #expect(relativeError(out, truth) < 2e-6)
    let fused = gatedRMSNorm(y, x: x, skip: skip, gate: gate, weight: weight, groups: groups)
    let recorded = gatedRMSNorm(
      y.requiringGradient(), x: x, skip: skip, gate: gate, weight: weight, groups: groups)
    #expect(relativeError(fused.floats, truth) < 2e-6)
    #expect(relativeError(recorded.floats, truth) < 2e-6)
    let error = gradientError([y, x, skip, gate, weight]) {
      gatedRMSNorm($0[0], x: $0[1], skip: $0[2], gate: $0[3], weight: $0[4], groups: groups)
    }
    #expect(error < 3e-3)
  }

  @Test(arguments: [[3, 1], [2, 3, 17], [5, 180], [40, 64], [1, 1000]])
  func overTheLastAxis(dimensions: [Int]) {
    var numbers = TestNumbers(17)
    let shape = Shape(dimensions)
    let n = shape[-1]
    let x = numbers.floats(shape.elementCount).map { $0 + 3 }
    let weight = numbers.floats(n)
    let bias = numbers.floats(n)
    let rows = (0..<shape.elementCount / n).map { Array($0 * n..<($0 + 1) * n) }
    let tensor = Tensor(x, shape: shape)
    let layer = Self.normalised(x.map(Double.init), rows, epsilon: 1e-3)
    let plain = tensor.layerNorm(epsilon: 1e-3)
    #expect(relativeError(plain.floats, layer) < 2e-6)
    let affine = layer.enumerated().map { $1 * Double(weight[$0 % n]) + Double(bias[$0 % n]) }
    #expect(
      relativeError(
        tensor.layerNorm(weight: Tensor(weight), bias: Tensor(bias), epsilon: 1e-3).floats, affine) < 2e-6)
    let rms = Self.normalised(x.map(Double.init), rows, epsilon: 1e-3, centred: false)
    #expect(relativeError(tensor.rmsNorm(epsilon: 1e-3).floats, rms) < 1e-6)
    #expect(
      relativeError(
        tensor.rmsNorm(weight: Tensor(weight), epsilon: 1e-3).floats,
        rms.enumerated().map { $1 * Double(weight[$0 % n]) }) < 1e-6)
  }

  @Test(arguments: [([2, 3, 5, 6], 3), ([1, 700, 8], 2), ([3, 4, 17], 17), ([2, 9, 20], 1)])
  func overGroups(dimensions: [Int], groups: Int) {
    var numbers = TestNumbers(19)
    let shape = Shape(dimensions)
    let (batch, channels) = (shape[0], shape[-1])
    let rows = shape.elementCount / batch / channels
    let x = numbers.floats(shape.elementCount).map { $0 + 2 }
    let weight = numbers.floats(channels)
    let bias = numbers.floats(channels)
    func sets(_ groups: Int, batches: Int) -> [[Int]] {
      var sets = Array(repeating: [Int](), count: batches * groups)
      for i in 0..<shape.elementCount {
        let image = batches == 1 ? 0 : i / (rows * channels)
        sets[image * groups + i % channels / (channels / groups)].append(i)
      }
      return sets
    }
    func affine(_ y: [Double]) -> [Double] {
      y.enumerated().map { $1 * Double(weight[$0 % channels]) + Double(bias[$0 % channels]) }
    }
    let (tensor, w, b) = (Tensor(x, shape: shape), Tensor(weight), Tensor(bias))
    let doubles = x.map(Double.init)
    #expect(
      relativeError(
        tensor.groupNorm(groups: groups, weight: w, bias: b).floats,
        affine(Self.normalised(doubles, sets(groups, batches: batch), epsilon: 1e-5))) < 3e-6)
    #expect(
      relativeError(
        tensor.instanceNorm(weight: w, bias: b).floats,
        affine(Self.normalised(doubles, sets(channels, batches: batch), epsilon: 1e-5))) < 3e-6)
    let batchTruth = affine(Self.normalised(doubles, sets(channels, batches: 1), epsilon: 1e-5))
    let result = tensor.batchNorm(weight: w, bias: b)
    #expect(relativeError(result.output.floats, batchTruth) < 3e-6)
    let again = tensor.batchNorm(mean: result.mean, variance: result.variance, weight: w, bias: b)
    #expect(relativeError(again.floats, batchTruth) < 3e-6)
  }

  @Test func gradients() {
    var numbers = TestNumbers(23)
    func tensor(_ shape: Shape) -> Tensor { Tensor(numbers.floats(shape.elementCount, -2...2), shape: shape) }
    let (x, w, b) = (tensor([3, 5, 18]), tensor([18]), tensor([18]))
    #expect(gradientError([x, w, b]) { $0[0].layerNorm(weight: $0[1], bias: $0[2]) } < 2e-3)
    #expect(gradientError([x]) { $0[0].layerNorm() } < 2e-3)
    #expect(gradientError([x, w]) { $0[0].rmsNorm(weight: $0[1]) } < 2e-3)
    #expect(gradientError([x]) { $0[0].rmsNorm() } < 2e-3)
    #expect(gradientError([x, w, b]) { $0[0].groupNorm(groups: 3, weight: $0[1], bias: $0[2]) } < 2e-3)
    #expect(gradientError([x, w, b]) { $0[0].instanceNorm(weight: $0[1], bias: $0[2]) } < 2e-3)
    #expect(gradientError([x, w, b]) { $0[0].batchNorm(weight: $0[1], bias: $0[2]).output } < 2e-3)
    let long = tensor([700, 3])
    #expect(gradientError([long, tensor([3])]) { $0[0].layerNorm(weight: $0[1]) } < 5e-3)
  }

  @Test(arguments: [[2, 5, 7, 24], [1, 700, 18], [3, 4, 1], [1, 1100, 33]])
  func instanceNormWithPReLU(_ dimensions: [Int]) {
    var numbers = TestNumbers(31)
    func tensor(_ shape: Shape) -> Tensor { Tensor(numbers.floats(shape.elementCount, -2...2), shape: shape) }
    let shape = Shape(dimensions)
    let x = tensor(shape) + 5, channels = shape[-1]
    let (w, b, slope) = (tensor([channels]), tensor([channels]), tensor([channels]))
    func apart(_ t: [Tensor]) -> Tensor { t[0].instanceNorm(weight: t[1], bias: t[2]).prelu(t[3]) }
    func fused(_ t: [Tensor]) -> Tensor { t[0].instanceNormPReLU(weight: t[1], bias: t[2], slope: t[3]) }
    #expect(relativeError(fused([x, w, b, slope]), apart([x, w, b, slope])) < 2e-6)
    let probe = tensor(shape)
    let results = [apart, fused].map { body in
      let leaves = [x, w, b, slope].map { $0.requiringGradient() }
      return (body(leaves) * probe).sum().gradients(for: leaves)
    }
    for (first, second) in zip(results[0], results[1]) { #expect(relativeError(second, first) < 2e-5) }
    if dimensions.count == 4 {
      // Away from the kink, finite differences say the same.
      let smooth = [x, w * 0.1, b.absolute() + 3, slope]
      #expect(gradientError(smooth, step: 1e-2) { fused($0) } < 5e-3)
    }
  }

  @Test func softmaxes() {
    var numbers = TestNumbers(29)
    for (rows, n) in [(1, 1), (3, 17), (40, 180), (2, 1000)] {
      let x = numbers.floats(rows * n, -20...20)
      var soft: [Double] = []
      var log: [Double] = []
      for row in 0..<rows {
        let values = x[row * n..<(row + 1) * n].map(Double.init)
        let total = values.reduce(0) { $0 + exp($1) }
        soft += values.map { exp($0) / total }
        log += values.map { $0 - Foundation.log(total) }
      }
      let tensor = Tensor(x, shape: [rows, n])
      #expect(relativeError(tensor.softmax().floats, soft) < 2e-6)
      #expect(relativeError(tensor.logSoftmax().floats, log) < 2e-6)
      #expect(relativeError(tensor.transposed(0, 1).softmax(axis: 0).transposed(0, 1).floats, soft) < 2e-6)
      let labels = (0..<rows).map { Int64(($0 * 7) % n) }
      let entropy = tensor.softmaxCrossEntropy(labels: Tensor(labels))
      #expect(relativeError(entropy.floats, labels.enumerated().map { -log[$0 * n + Int($1)] }) < 2e-6)
    }
    let infinite = Tensor([-.infinity, -.infinity, 1, -.infinity, .nan, 1], shape: [3, 2] as Shape)
    let y = infinite.softmax().floats
    #expect(y[0] == 0 && y[1] == 0 && y[2] == 1 && y[3] == 0 && y[4].isNaN && y[5].isNaN)
    #expect(
      Tensor([5, 6] as [Float], shape: [1, 2]).softmaxCrossEntropy(labels: Tensor([Int64(-100)])).item == 0)

    let x = Tensor(numbers.floats(4 * 19, -2...2), shape: [4, 19])
    let labels = Tensor([3, 0, -100, 18] as [Int64])
    #expect(gradientError([x]) { $0[0].softmax(scale: 0.7) } < 2e-3)
    #expect(gradientError([x]) { $0[0].softmax(axis: 0) } < 2e-3)
    #expect(gradientError([x]) { $0[0].logSoftmax() } < 2e-3)
    #expect(gradientError([x]) { $0[0].softmaxCrossEntropy(labels: labels) } < 2e-3)
    #expect(gradientError([x]) { $0[0].softmaxCrossEntropy(labels: labels, smoothing: 0.1) } < 2e-3)
  }

  @Test(arguments: KernelLevel.available)
  func everyLevel(level: KernelLevel) {
    // The same rows at every level, against the level that the operations use.
    let norm = level.kernels.norm
    let current = CPU.kernels.pointee.norm
    var numbers = TestNumbers(31)
    for (rows, n) in [(3, 1), (4, 17), (3, 64), (130, 33)] {
      let (x, d) = (numbers.floats(rows * n), numbers.floats(rows * n))
      let (g, b, c) = (numbers.floats(n), numbers.floats(n), numbers.floats(n))
      func check(_ run: (braid_norm_kernels, inout [Float], inout [Float], inout [Float]) -> Void) {
        var results: [[[Float]]] = []
        for kernels in [norm, current] {
          var y = [Float](repeating: .nan, count: rows * n + 1)
          var u = [Float](repeating: 0.25, count: Swift.max(rows, n) + 1)
          var v = u
          run(kernels, &y, &u, &v)
          #expect(y[rows * n].isNaN && u.last == 0.25 && v.last == 0.25)
          results.append([y.dropLast(), u, v])
        }
        for (a, b) in zip(results[0], results[1]) {
          #expect(
            relativeError(a, b.map(Double.init)) < 2e-6 || (a.allSatisfy(\.isNaN) && b.allSatisfy(\.isNaN)))
        }
      }
      check { kernels, y, u, v in kernels.layer_norm(x, rows, n, g, b, 1e-2, &y, &u, &v) }
      check { kernels, y, u, _ in kernels.rms_norm(x, rows, n, g, 1e-2, &y, &u) }
      let mean = [Float](repeating: 0.1, count: rows)
      let rstd = [Float](repeating: 1.5, count: rows)
      check { kernels, y, u, v in kernels.layer_norm_backward(x, d, rows, n, g, mean, rstd, &y, &u, &v) }
      check { kernels, y, u, _ in kernels.rms_norm_backward(x, d, rows, n, g, rstd, &y, &u) }
      check { kernels, _, u, _ in kernels.column_deviation(x, rows, n, c, &u) }
      check { kernels, _, u, _ in kernels.column_covariance(d, x, rows, n, c, &u) }
      check { kernels, y, _, _ in kernels.column_affine(x, rows, n, g, b, &y) }
      check { kernels, y, _, _ in kernels.column_combine(x, d, rows, n, g, b, c, &y) }
      check { kernels, y, _, _ in kernels.softmax(x, rows, n, 2, &y) }
      check { kernels, y, _, _ in kernels.softmax_backward(x, d, rows, n, 2, &y) }
      check { kernels, y, _, _ in kernels.log_softmax(x, rows, n, &y) }
      check { kernels, y, _, _ in kernels.log_softmax_backward(x, d, rows, n, &y) }
      check { kernels, _, u, _ in kernels.log_sum_exp(x, rows, n, &u) }
      let labels = (0..<rows).map { Int64($0 % (n + 1)) }
      check { kernels, y, _, _ in kernels.cross_entropy_backward(x, rstd, labels, mean, rows, n, 0.1, &y) }
    }
  }
}
