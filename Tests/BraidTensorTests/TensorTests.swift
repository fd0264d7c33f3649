import BraidTestSupport
import Testing

@testable import BraidTensor

@Suite struct TensorTests {
  @Test func viewsShareTheStorageAndReadInOrder() {
    let x = Tensor.range(24).reshaped(2, 3, 4)
    let columns: [Float] = (0..<24).map { Float($0 % 6 * 4 + $0 / 6) }
    #expect(x.permuted(2, 0, 1).contiguous().floats == columns)
    let odd: [Float] = (0..<12).map { Float($0 * 2 + 1) }
    #expect(x.sliced(axis: 2, 1..<4, step: 2).floats == odd)
    #expect(x.selected(axis: 1, 2).storage === x.storage)
    #expect(x.flipped(axis: 1).floats[0..<4] == [8, 9, 10, 11])
    #expect(x.rolled([1, -1], axes: [1, 2]).floats[0..<4] == [9, 10, 11, 8])
  }

  @Test(arguments: [[3, 5, 7], [1, 1, 1], [64, 33, 2], [2, 130, 129], [0, 4, 2]])
  func everyPermutationCopiesExactly(_ dimensions: [Int]) {
    let x = Tensor.range(dimensions.reduce(1, *)).reshaped(Shape(dimensions))
    let values = x.floats
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
      let y = x.permuted(order).contiguous()
      let got = y.floats
      var index = 0
      var correct = true
      for i in 0..<y.shape[0] {
        for j in 0..<y.shape[1] {
          for k in 0..<y.shape[2] {
            var position = [0, 0, 0]
            for (axis, at) in zip(order, [i, j, k]) { position[axis] = at }
            let flat = (position[0] * dimensions[1] + position[1]) * dimensions[2] + position[2]
            if got[index] != values[flat] { correct = false }
            index += 1
          }
        }
      }
      #expect(correct)
    }
  }

  @Test(arguments: [
    (Shape([3, 4, 5]), Shape([3, 4, 5])), (Shape([3, 4, 5]), Shape([5])), (Shape([3, 1, 5]), Shape([4, 1])),
    (Shape([]), Shape([7])), (Shape([2, 3, 1, 1]), Shape([1, 5, 6])), (Shape([300, 200]), Shape([300, 1])),
    (Shape([0, 3]), Shape([3])),
  ])
  func broadcastingMatchesTheDefinition(_ a: Shape, _ b: Shape) {
    var generator = Philox(seed: 3)
    let x = Tensor.uniform(a, in: 0.5...2, using: &generator)
    let y = Tensor.uniform(b, in: 0.5...2, using: &generator)
    let shape = Shape.broadcast(a, b)!
    let full = (x.broadcast(to: shape).floats, y.broadcast(to: shape).floats)
    #expect((x + y).floats == zip(full.0, full.1).map { $0 + $1 })
    #expect((x - y).floats == zip(full.0, full.1).map { $0 - $1 })
    #expect((x * y).floats == zip(full.0, full.1).map { $0 * $1 })
    #expect((x / y).floats == zip(full.0, full.1).map { $0 / $1 })
    #expect(Tensor.maximum(x, y).floats == zip(full.0, full.1).map { max($0, $1) })
    #expect(x.greater(y).floats == zip(full.0, full.1).map { $0 > $1 ? 1 : 0 })
    if shape.elementCount > 0 {
      #expect(gradientError([x, y]) { $0[0] * $0[1] } < 1e-3)
      #expect(gradientError([x, y]) { $0[0] / $0[1] - $0[1] + $0[0] } < 1e-3)
      #expect(gradientError([x, y]) { Tensor.power($0[0], $0[1]) } < 2e-3)
    }
  }

  @Test(arguments: [[0], [1], [2], [0, 1], [1, 2], [0, 2], [0, 1, 2]])
  func reductionsMatchTheDefinition(_ axes: [Int]) {
    var generator = Philox(seed: 5)
    for shape in [Shape([3, 5, 7]), Shape([2, 2500, 3]), Shape([1100, 2, 2])] {
      let x = Tensor.normal(shape, using: &generator)
      let values = x.floats
      var sums: [[Int]: Double] = [:]
      var largest: [[Int]: Float] = [:]
      var order: [[Int]] = []
      for i in 0..<values.count {
        let position = [i / (shape[1] * shape[2]), i / shape[2] % shape[1], i % shape[2]]
        let key = (0..<3).filter { !axes.contains($0) }.map { position[$0] }
        if sums[key] == nil { order.append(key) }
        sums[key, default: 0] += Double(values[i])
        largest[key] = max(largest[key] ?? -.infinity, values[i])
      }
      #expect(relativeError(x.sum(axes: axes).floats, order.map { sums[$0]! }) < 1e-5)
      #expect(x.max(axes: axes).floats == order.map { largest[$0]! })
    }
    let small = Tensor.normal([3, 4, 5], using: &generator)
    #expect(gradientError([small]) { $0[0].sum(axes: axes) } < 1e-3)
    #expect(gradientError([small]) { $0[0].variance(axes: axes, keepingAxes: true) } < 1e-3)
    #expect(gradientError([small], step: 1e-3) { $0[0].max(axes: axes) } < 5e-3)
  }

  @Test func unaryGradients() {
    var generator = Philox(seed: 11)
    let x = Tensor.uniform([3, 17], in: 0.3...2.5, using: &generator)
    let z = Tensor.normal([3, 17], using: &generator)
    let positive: [(Tensor) -> Tensor] = [
      { $0.log() }, { $0.squareRoot() }, { $0.reciprocalSquareRoot() }, { $0.reciprocal() },
      { $0.power(1.7) },
      { $0.log1p() },
    ]
    for function in positive { #expect(gradientError([x]) { function($0[0]) } < 1e-3) }
    let everywhere: [(Tensor) -> Tensor] = [
      { $0.exp() }, { $0.sine() }, { $0.cosine() }, { $0.tanh() }, { $0.sigmoid() }, { $0.silu() },
      { $0.gelu() },
      { $0.geluTanh() }, { $0.softplus() }, { $0.squared() }, { $0.errorFunction() }, { $0.expm1() },
      { $0.affine(scale: 3, shift: 1) }, { -$0 },
    ]
    for function in everywhere { #expect(gradientError([z]) { function($0[0]) } < 1e-3) }
    let kinked: [(Tensor) -> Tensor] = [
      { $0.relu() }, { $0.leakyRelu(slope: 0.2) }, { $0.elu() }, { $0.absolute() }, { $0.clamped(-1.5, 1.5) },
    ]
    for function in kinked { #expect(gradientError([z], step: 1e-3) { function($0[0]) } < 5e-3) }
    #expect(
      gradientError([z, Tensor([0.25] as [Float])], step: 1e-3) { $0[0].prelu($0[1]) } < 5e-3)
  }

  @Test func viewGradients() {
    var generator = Philox(seed: 12)
    let x = Tensor.normal([3, 4, 6], using: &generator)
    let functions: [(Tensor) -> Tensor] = [
      { $0.permuted(2, 0, 1).reshaped(12, 6) }, { $0.sliced(axis: 2, 1..<6, step: 2) },
      { $0.rolled([1, 2], axes: [0, 2]) }, { $0.flipped(axis: 1) }, { $0.cumulativeSum(axis: 1) },
      { $0.cumulativeSum(axis: 2) }, { $0.unsqueezed(1).broadcast(to: [3, 2, 4, 6]) },
      { Tensor.concatenated([$0, $0.squared()], axis: 1) }, { $0.split([1, 3], axis: 1)[1].squared() },
      {
        let parts = $0.split([1, 2, 1], axis: 1)
        return parts[0].squared() * parts[2]
      },
      { Tensor.select($0.detached.greater(Tensor(0)), $0 * 2, $0.squared()) },
      { $0.sliced(axis: 2, 1..<5).withLastAxisSplit(width: 2).squared() },
    ]
    let split = x.sliced(axis: 2, 1..<5).withLastAxisSplit(width: 2)
    #expect(split.floats == x.sliced(axis: 2, 1..<5).reshaped(3, 4, 2, 2).floats)
    for function in functions { #expect(gradientError([x]) { function($0[0]) } < 1e-3) }
  }

  @Test func gradientsStopWhereNothingIsRecorded() {
    let x = Tensor([1, 2, 3] as [Float]).requiringGradient()
    #expect(!withoutGradient { x * 2 }.requiresGradient)
    #expect(!(x.detached * 2).requiresGradient)
    let y = (x * x).sum()
    #expect(y.gradients(for: [x])[0].floats == [2, 4, 6])
    #expect(Tensor([1] as [Float]).gradients(for: [x], seed: Tensor([1] as [Float]))[0].floats == [0, 0, 0])
  }

  @Test func customGradientReplacesTheRecordedOne() {
    let x = Tensor([1, 2, 3] as [Float]).requiringGradient()
    let y = Tensor.withCustomGradient([x]) {
      $0[0].squared()
    } backward: { _, _, gradient in
      [gradient * 10]
    }
    #expect(y.sum().gradients(for: [x])[0].floats == [10, 10, 10])
  }

  @Test func longChainsAreReleasedWithoutRecursion() {
    var x = Tensor([1] as [Float]).requiringGradient()
    for _ in 0..<200_000 { x = x + 1 }
    #expect(x.item == 200_001)
  }

  @Test func castsRoundToNearestEven() {
    let x = Tensor([1.00390625, 1.01171875, -3.7, 300, Float.infinity, 65520] as [Float])
    #expect(x.cast(to: .bfloat16).floats == [1, 1.015625, -3.703125, 300, .infinity, 65536])
    #expect(x.cast(to: .float16).floats[5] == .infinity)
    #expect(x.cast(to: .int32).elements(as: Int32.self) == [1, 1, -3, 300, .max, 65520])
    #expect(x.cast(to: .uint8).elements(as: UInt8.self) == [1, 1, 0, 255, 255, 255])
    #expect(Tensor([Int64(5), -7]).cast(to: .bfloat16).floats == [5, -7])
  }

  @Test func memoryIsCounted() {
    // Other tests allocate at the same time, so only lower bounds hold.
    let x = Tensor.zeros([1 << 20])
    #expect(Memory.currentBytes >= 4 << 20)
    #expect(Memory.peakBytes >= Memory.currentBytes || Memory.peakBytes >= 4 << 20)
    withExtendedLifetime(x) {}
  }
}

@Suite struct RandomTests {
  /// Known answers of Philox 4x32-10 (Random123's kat_vectors).
  @Test func philoxMatchesTheKnownAnswers() {
    let zero = Philox(seed: 0).block(0)
    #expect([zero.0, zero.1, zero.2, zero.3] == [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8])
    let ones = Philox(seed: .max, stream: .max).block(.max)
    #expect([ones.0, ones.1, ones.2, ones.3] == [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd])
  }

  @Test func drawsDoNotDependOnThreadsAndHaveTheRightMoments() {
    var a = Philox(seed: 42)
    var b = Philox(seed: 42)
    let threads = ThreadPool.threads
    let x = Tensor.normal([100_003], mean: 1, standardDeviation: 2, using: &a)
    ThreadPool.threads = 1
    let y = Tensor.normal([100_003], mean: 1, standardDeviation: 2, using: &b)
    ThreadPool.threads = threads
    #expect(x.floats == y.floats)
    #expect(a.counter == b.counter)
    #expect(abs(x.mean().item - 1) < 0.03)
    #expect(abs(x.variance().item - 4) < 0.08)
  }
}
