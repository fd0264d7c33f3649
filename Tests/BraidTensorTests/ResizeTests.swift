import BraidTestSupport
import CBraidKernels
import Testing

@testable import BraidTensor

@Suite struct ResizeTests {
  private static let sizes = [(3, 4), (11, 9), (10, 14), (1, 2)]

  @Test(arguments: sizes)
  func resizingMatchesTorch(_ height: Int, _ width: Int) {
    let x = OperationFixture["resize.input"]
    let size = "\(height)x\(width)"
    poisonMemory(height * width * 2)
    #expect(
      x.resized(height: height, width: width, mode: .nearest).floats
        == OperationFixture["resize.nearest.\(size)"].floats)
    #expect(
      x.resized(height: height, width: width, mode: .nearestExact).floats
        == OperationFixture["resize.nearest-exact.\(size)"].floats)
    for mode in [ResizeMode.bilinear, .bicubic] {
      for corners in [false, true] {
        for antialias in [false, true] {
          let y = x.resized(
            height: height, width: width, mode: mode, alignCorners: corners, antialias: antialias)
          let key = "resize.\(mode.rawValue).\(corners ? 1 : 0)\(antialias ? 1 : 0).\(size)"
          #expect(relativeError(y, OperationFixture[key]) < 1e-6, "\(key)")
          let column = x.resized(
            axis: 2, to: width, mode: mode, alignCorners: corners, antialias: antialias)
          let both = column.resized(
            axis: 1, to: height, mode: mode, alignCorners: corners, antialias: antialias)
          #expect(relativeError(both, OperationFixture[key]) < 1e-6, "\(key) by axes")
          #expect(
            gradientError([x]) {
              $0[0].resized(
                height: height, width: width, mode: mode, alignCorners: corners, antialias: antialias)
            } < 1e-3)
        }
      }
    }
    #expect(gradientError([x]) { $0[0].resized(height: height, width: width, mode: .nearest) } < 1e-3)
  }

  /// The kernels of every level against sums in double.
  @Test(arguments: [1, 2, 3, 4, 5, 16, 37, 64, 131])
  func kernelsOfEveryLevel(_ channels: Int) {
    var generator = Philox(seed: UInt64(channels))
    let width = 9
    let rows = (0..<6).map { _ in Tensor.normal([width * channels], using: &generator).floats }
    let weights = Tensor.normal([6], using: &generator).floats
    let starts: [Int32] = [0, 3, 2, 8, 5]
    let offsets: [Int32] = [0, 3, 3, 5, 6, 6]
    for level in [BRAID_LEVEL_BASE, BRAID_LEVEL_AVX2, BRAID_LEVEL_AVX512] {
      guard let kernels = braid_kernels_at(level) else { continue }
      for taps in 0...6 {
        var y = [Float](repeating: .nan, count: width * channels)
        let pointers = rows.map { row -> UnsafePointer<Float>? in
          let copy = UnsafeMutablePointer<Float>.allocate(capacity: row.count)
          copy.initialize(from: row, count: row.count)
          return UnsafePointer(copy)
        }
        kernels.pointee.image.blend(pointers, weights, taps, &y, y.count)
        pointers.forEach { $0?.deallocate() }
        let expected = y.indices.map { i in
          (0..<taps).reduce(0.0) { $0 + Double(weights[$1]) * Double(rows[$1][i]) }
        }
        #expect(relativeError(y, expected) < 1e-6)
      }
      var y = [Float](repeating: .nan, count: 5 * channels + 1)
      kernels.pointee.image.resample(rows[0], starts, offsets, weights, 5, channels, &y)
      let expected = (0..<5 * channels).map { i -> Double in
        let (o, c) = (i / channels, i % channels)
        return (0..<Int(offsets[o + 1] - offsets[o])).reduce(0.0) {
          $0 + Double(weights[Int(offsets[o]) + $1]) * Double(rows[0][(Int(starts[o]) + $1) * channels + c])
        }
      }
      #expect(y.last!.isNaN)
      #expect(relativeError(Array(y.dropLast()), expected) < 1e-6)
    }
  }

  @Test func largeMapsAgreeAcrossBandsAndThreads() {
    var generator = Philox(seed: 5)
    let x = Tensor.normal([2, 61, 47, 5], using: &generator)
    let threads = ThreadPool.threads
    let parallel = x.resized(height: 133, width: 90, mode: .bicubic).floats
    ThreadPool.threads = 1
    #expect(x.resized(height: 133, width: 90, mode: .bicubic).floats == parallel)
    ThreadPool.threads = threads
    let one = x.selected(axis: 0, 1).resized(height: 133, width: 90, mode: .bicubic).floats
    #expect(one == Array(parallel.suffix(one.count)))
    #expect(x.resized(height: 61, width: 47).storage === x.storage)
  }

  @Test(arguments: [2, 3, 4, 5], [1, 3, 8, 64])
  func pixelShuffleMatchesTheDefinition(_ r: Int, _ channels: Int) {
    var generator = Philox(seed: 6)
    let x = Tensor.normal([2, 3, 5, channels * r * r], using: &generator)
    poisonMemory(x.elementCount)
    let y = x.pixelShuffled(r)
    let expected = x.reshaped(2, 3, 5, channels, r, r).permuted(0, 1, 4, 2, 5, 3)
    #expect(y.shape == [2, 3 * r, 5 * r, channels])
    #expect(y.floats == expected.floats)
    #expect(y.pixelUnshuffled(r).floats == x.floats)
    if channels == 3 {
      #expect(gradientError([x]) { $0[0].pixelShuffled(r) } < 1e-3)
      #expect(gradientError([y]) { $0[0].pixelUnshuffled(r) } < 1e-3)
    }
  }

  @Test func pixelShuffleOfEveryLevel() {
    var generator = Philox(seed: 7)
    for r in [2, 3, 4, 5] {
      for channels in [1, 3, 17, 64] {
        let width = 3
        let x = Tensor.normal([width * channels * r * r], using: &generator).floats
        let expected = Tensor(x, shape: [width, channels, r, r]).permuted(2, 0, 3, 1).floats
        for level in [BRAID_LEVEL_BASE, BRAID_LEVEL_AVX2, BRAID_LEVEL_AVX512] {
          guard let kernels = braid_kernels_at(level) else { continue }
          var y = [Float](repeating: .nan, count: x.count)
          kernels.pointee.image.pixel_shuffle(x, width, channels, r, &y, width * channels * r)
          #expect(y == expected)
          var back = [Float](repeating: .nan, count: x.count)
          kernels.pointee.image.pixel_unshuffle(y, width * channels * r, width, channels, r, &back)
          #expect(back == x)
        }
      }
    }
  }
}
