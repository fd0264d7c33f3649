import BraidTestSupport
import Testing

@testable import BraidTensor

@Suite struct SamplingTests {
  @Test(arguments: SamplingMode.allCases, SamplingPadding.allCases)
  func gridSamplingMatchesTorch(_ mode: SamplingMode, _ padding: SamplingPadding) {
    let x = OperationFixture["grid.input"].requiringGradient()
    let grid = OperationFixture["grid.grid"].requiringGradient()
    for corners in [false, true] {
      let key = "grid.\(mode.rawValue).\(padding.rawValue).\(corners ? 1 : 0)"
      poisonMemory(200)
      let y = x.gridSampled(grid, mode: mode, padding: padding, alignCorners: corners)
      #expect(relativeError(y, OperationFixture[key]) < 1e-5, "\(key)")
      let gradients = y.gradients(for: [x, grid], seed: OperationFixture["grid.seed"])
      #expect(relativeError(gradients[0], OperationFixture[key + ".dinput"]) < 1e-5, "\(key)")
      #expect(relativeError(gradients[1], OperationFixture[key + ".dgrid"]) < 1e-5, "\(key)")
    }
    let points = OperationFixture["grid.grid"]
    #expect(gradientError([x.detached]) { $0[0].gridSampled(points, mode: mode, padding: padding) } < 1e-3)
  }

  @Test func hostilePointsReadNothing() {
    let x = Tensor.ones([1, 3, 4, 2])
    let points: [Float] = [.nan, 0, .infinity, 0, 0, -.infinity, 1e30, -1e30]
    let grid = Tensor(points, shape: [1, 1, 4, 2])
    for mode in SamplingMode.allCases {
      #expect(x.gridSampled(grid, mode: mode).floats == [Float](repeating: 0, count: 8))
      for padding in [SamplingPadding.border, .reflection] {
        _ = x.gridSampled(grid, mode: mode, padding: padding).floats
      }
    }
  }

  @Test func sampledGradientsDoNotDependOnThreads() {
    var generator = Philox(seed: 8)
    let x = Tensor.normal([1, 20, 30, 19], using: &generator)
    let grid = Tensor.uniform([1, 70, 80, 2], in: -1.2...1.2, using: &generator)
    let seed = Tensor.normal([1, 70, 80, 19], using: &generator)
    func gradient() -> [Float] {
      let leaf = x.requiringGradient()
      return leaf.gridSampled(grid).gradients(for: [leaf], seed: seed)[0].floats
    }
    let parallel = gradient()
    let threads = ThreadPool.threads
    ThreadPool.threads = 1
    #expect(gradient() == parallel)
    ThreadPool.threads = threads
  }

  @Test(arguments: [1, 2, 3])
  func poolingMatchesTorch(_ rank: Int) {
    let x = OperationFixture["pool\(rank).input"]
    func all(_ value: Int) -> [Int] { [Int](repeating: value, count: rank) }
    poisonMemory(x.elementCount)
    for ceil in [false, true] {
      for dilation in [1, 2] {
        let function: ([Tensor]) -> Tensor = {
          $0[0].maxPooled(
            kernel: all(3), stride: all(2), padding: all(1), dilation: all(dilation), ceilMode: ceil)
        }
        let key = "pool\(rank).max.\(ceil ? 1 : 0)\(dilation)"
        #expect(function([x]).shape == OperationFixture[key].shape, "\(key)")
        #expect(function([x]).floats == OperationFixture[key].floats, "\(key)")
        #expect(function([x.requiringGradient()]).floats == OperationFixture[key].floats, "\(key)")
        #expect(gradientError([x], step: 1e-3, function) < 5e-3)
      }
      for counting in [false, true] {
        let function: ([Tensor]) -> Tensor = {
          $0[0].averagePooled(
            kernel: all(3), stride: all(2), padding: all(1), ceilMode: ceil, countingPadding: counting)
        }
        let key = "pool\(rank).average.\(ceil ? 1 : 0)\(counting ? 1 : 0)"
        #expect(relativeError(function([x]), OperationFixture[key]) < 1e-6, "\(key)")
        #expect(gradientError([x], function) < 1e-3)
      }
    }
    let sizes = Array([4, 3, 5].prefix(rank))
    #expect(
      relativeError(x.adaptiveAveragePooled(sizes), OperationFixture["pool\(rank).adaptive"]) < 1e-6)
    #expect(gradientError([x]) { $0[0].adaptiveAveragePooled(sizes) } < 1e-3)
    #expect(
      relativeError(
        x.globalAveragePooled(), x.adaptiveAveragePooled(all(1)).reshaped(x.shape[0], x.shape[-1])) < 1e-6)
  }

  @Test func poolingKeepsNaN() {
    let x = Tensor([1, .nan, 3, 2, 5, 4] as [Float], shape: [1, 6, 1])
    let y = x.maxPooled(kernel: [2]).floats
    #expect(y[0].isNaN && y[1] == 3 && y[2] == 5)
    #expect(x.requiringGradient().maxPooled(kernel: [2]).floats[0].isNaN)
  }
}
