import CBraidKernels
import Foundation
import Testing

@testable import BraidTensor

/// Attention written out in double precision, with its gradients; rows of queries, keys, values, bias [n][m].
struct NaiveAttention {
  var output: [[Double]] = []
  var dq, dk, dv, dbias: [[Double]]
  var dsink = 0.0

  init(
    q: [[Double]], k: [[Double]], v: [[Double]], bias: (Int, Int) -> Double, scale: Double,
    gradient: [[Double]], cap: Double? = nil, sink: Double = -.infinity
  ) {
    let (n, m) = (q.count, k.count)
    dq = q.map { $0.map { _ in 0 } }
    dk = k.map { $0.map { _ in 0 } }
    dv = v.map { $0.map { _ in 0 } }
    dbias = Array(repeating: Array(repeating: 0, count: m), count: n)
    for i in 0..<n {
      let plain = (0..<m).map { j in scale * zip(q[i], k[j]).reduce(0) { $0 + $1.0 * $1.1 } }
      let slopes = plain.map { s in cap.map { 1 - tanh(s / $0) * tanh(s / $0) } ?? 1 }
      let scores = plain.enumerated().map { j, s in (cap.map { $0 * tanh(s / $0) } ?? s) + bias(i, j) }
      let most = max(scores.max()!, sink)
      let e = scores.map { most == -.infinity ? 0 : exp($0 - most) }
      let atSink = most == -.infinity ? 0 : exp(sink - most)
      let total = e.reduce(0, +) + atSink
      let p = e.map { total == 0 ? 0 : $0 / total }
      output.append(v[0].indices.map { c in (0..<m).reduce(0) { $0 + p[$1] * v[$1][c] } })
      let dp = (0..<m).map { j in zip(gradient[i], v[j]).reduce(0) { $0 + $1.0 * $1.1 } }
      let mean = zip(p, dp).reduce(0) { $0 + $1.0 * $1.1 }
      dsink -= total == 0 ? 0 : atSink / total * mean
      for j in 0..<m {
        let ds = p[j] * (dp[j] - mean)
        dbias[i][j] = ds
        for c in q[i].indices {
          dq[i][c] += scale * ds * slopes[j] * k[j][c]
          dk[j][c] += scale * ds * slopes[j] * q[i][c]
        }
        for c in v[j].indices { dv[j][c] += p[j] * gradient[i][c] }
      }
    }
  }
}

struct WindowCase: Sendable, CustomTestStringConvertible {
  var batch = 1
  var height, width, heads, d, window, keyWindow, shift: Int
  var shiftX: Int?
  var bias = true
  var testDescription: String {
    "\(batch)x\(height)x\(width) heads \(heads)x\(d) window \(window) keys \(keyWindow) shift \(shift)"
  }
}

@Suite struct WindowAttentionKernelTests {
  static let cases: [WindowCase] = [
    .init(height: 8, width: 12, heads: 2, d: 5, window: 4, keyWindow: 4, shift: 0),
    .init(batch: 2, height: 8, width: 12, heads: 2, d: 30, window: 4, keyWindow: 4, shift: 2),
    .init(height: 8, width: 8, heads: 1, d: 17, window: 8, keyWindow: 8, shift: 4),
    .init(height: 16, width: 32, heads: 2, d: 24, window: 16, keyWindow: 16, shift: 8),
    .init(height: 10, width: 15, heads: 3, d: 33, window: 5, keyWindow: 5, shift: 2, bias: false),
    .init(height: 8, width: 12, heads: 1, d: 8, window: 4, keyWindow: 4, shift: 1, shiftX: 0),
    .init(height: 4, width: 12, heads: 1, d: 8, window: 4, keyWindow: 4, shift: 0, shiftX: 3),
    .init(batch: 2, height: 8, width: 12, heads: 2, d: 6, window: 4, keyWindow: 6, shift: 0),
    .init(height: 32, width: 16, heads: 1, d: 30, window: 16, keyWindow: 24, shift: 0),
  ]

  @Test(arguments: KernelLevel.available, cases)
  func matchesDouble(level: KernelLevel, shape: WindowCase) {
    let geometry = WindowGeometry(
      batch: shape.batch, height: shape.height, width: shape.width, heads: shape.heads, headWidth: shape.d,
      window: shape.window, keyWindow: shape.keyWindow, shiftY: shape.shift,
      shiftX: shape.shiftX ?? shape.shift)
    let channels = geometry.channels
    let pixels = shape.batch * shape.height * shape.width
    var numbers = TestNumbers(13)
    let qkv = numbers.floats(pixels * 3 * channels, -2...2)
    let bias = numbers.floats(shape.heads * geometry.queries * geometry.keys)
    let gradient = numbers.floats(pixels * channels)
    let scale = 1 / Float(shape.d).squareRoot()
    var output = [Float](repeating: .nan, count: pixels * channels)
    var lse = [Float](repeating: .nan, count: shape.heads * geometry.windows * geometry.queries)
    var dqkv = [Float](repeating: 0, count: qkv.count)
    var dbias = [Float](repeating: .nan, count: bias.count)
    qkv.withUnsafeBufferPointer { qkv in
      bias.withUnsafeBufferPointer { bias in
        let base = qkv.baseAddress!
        func rows(_ part: Int) -> PixelRows { PixelRows(base: base + part * channels, stride: 3 * channels) }
        let added = shape.bias ? bias.baseAddress! : nil
        CPU.windowAttention(
          geometry, queries: rows(0), keys: rows(1), values: rows(2), bias: added, scale: scale,
          output: &output,
          lse: &lse, kernels: level.kernels)
        dqkv.withUnsafeMutableBufferPointer { dqkv in
          dbias.withUnsafeMutableBufferPointer { dbias in
            let d = dqkv.baseAddress!
            CPU.windowAttentionGradient(
              geometry, queries: rows(0), keys: rows(1), values: rows(2), bias: added, scale: scale,
              output: output,
              lse: lse, gradient: gradient, dq: d, dk: d + channels, dv: d + 2 * channels,
              dbias: shape.bias ? dbias.baseAddress : nil, kernels: level.kernels)
          }
        }
      }
    }

    var truth = [Double](repeating: 0, count: output.count)
    var dqkvTruth = [Double](repeating: 0, count: qkv.count)
    var dbiasTruth = [Double](repeating: 0, count: bias.count)
    let (rows, columns) = (geometry.rows, geometry.columns)
    for image in 0..<shape.batch {
      for wy in 0..<rows {
        for wx in 0..<columns {
          // Rolled coordinates, then the pixel they came from; slices of the shift mask as in Swin.
          func slice(_ at: Int, _ size: Int, _ shift: Int) -> Int {
            at < size - shape.window ? 0 : at < size - shift ? 1 : 2
          }
          var queries: [(pixel: Int, region: Int)] = []
          for i in 0..<shape.window {
            for j in 0..<shape.window {
              let (y, x) = (wy * shape.window + i, wx * shape.window + j)
              let pixel =
                (image * shape.height + (y + shape.shift) % shape.height) * shape.width
                + (x + geometry.shiftX) % shape.width
              queries.append(
                (pixel, slice(y, shape.height, geometry.shiftY) * 3 + slice(x, shape.width, geometry.shiftX)))
            }
          }
          var keys: [(pixel: Int?, region: Int)] = queries.map { ($0.pixel, $0.region) }
          if geometry.overlaps {
            let margin = (shape.keyWindow - shape.window) / 2
            keys = []
            for i in 0..<shape.keyWindow {
              for j in 0..<shape.keyWindow {
                let (y, x) = (wy * shape.window + i - margin, wx * shape.window + j - margin)
                let inside = (0..<shape.height).contains(y) && (0..<shape.width).contains(x)
                keys.append((inside ? (image * shape.height + y) * shape.width + x : nil, 0))
              }
            }
          }
          for head in 0..<shape.heads {
            func row(_ pixel: Int?, _ part: Int) -> [Double] {
              (0..<shape.d).map { c in
                pixel.map { Double(qkv[($0 * 3 + part) * channels + head * shape.d + c]) } ?? 0
              }
            }
            let naive = NaiveAttention(
              q: queries.map { row($0.pixel, 0) }, k: keys.map { row($0.pixel, 1) },
              v: keys.map { row($0.pixel, 2) },
              bias: { i, j in
                (shape.bias ? Double(bias[(head * geometry.queries + i) * geometry.keys + j]) : 0)
                  + (!geometry.overlaps && queries[i].region != keys[j].region ? -100 : 0)
              }, scale: Double(scale),
              gradient: queries.map { q in
                (0..<shape.d).map { Double(gradient[q.pixel * channels + head * shape.d + $0]) }
              })
            for (i, query) in queries.enumerated() {
              for c in 0..<shape.d {
                truth[query.pixel * channels + head * shape.d + c] = naive.output[i][c]
                dqkvTruth[query.pixel * 3 * channels + head * shape.d + c] += naive.dq[i][c]
              }
              for j in keys.indices {
                dbiasTruth[(head * geometry.queries + i) * geometry.keys + j] += naive.dbias[i][j]
              }
            }
            for (j, key) in keys.enumerated() {
              guard let pixel = key.pixel else { continue }
              for c in 0..<shape.d {
                dqkvTruth[(pixel * 3 + 1) * channels + head * shape.d + c] += naive.dk[j][c]
                dqkvTruth[(pixel * 3 + 2) * channels + head * shape.d + c] += naive.dv[j][c]
              }
            }
          }
        }
      }
    }
    func worst(_ a: [Float], _ b: [Double]) -> Double {
      zip(a, b).reduce(0) { $1.0.isNaN ? .infinity : max($0, abs(Double($1.0) - $1.1)) }
    }
    #expect(worst(output, truth) < 3e-6)
    #expect(worst(dqkv, dqkvTruth) < 1e-5)
    if shape.bias { #expect(worst(dbias, dbiasTruth) < 1e-5) }
  }
}
