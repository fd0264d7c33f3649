import BraidTestSupport
import Testing

@testable import BraidTensor

@Suite struct IndexingTests {
  private func randomIndices(_ shape: Shape, below limit: Int, _ generator: inout Philox) -> Tensor {
    Tensor((0..<shape.elementCount).map { _ in Int64(generator.integer(limit)) }, shape: shape)
  }

  /// The flat indices of `shape` with the coordinate of `axis` replaced by the given positions.
  private func places(_ positions: Tensor, axis: Int, of shape: Shape) -> [Int] {
    let strides = shape.contiguousStrides
    return positions.elements(as: Int64.self).enumerated().map { flat, position in
      var rest = flat
      var place = 0
      for a in stride(from: shape.rank - 1, through: 0, by: -1) {
        let index = rest % positions.shape[a]
        rest /= positions.shape[a]
        place += (a == axis ? Int(position) : index) * strides[a]
      }
      return place
    }
  }

  @Test(arguments: [
    (Shape([3, 5, 7]), 0, Shape([4, 5, 7])), (Shape([3, 5, 7]), 1, Shape([3, 9, 6])),
    (Shape([3, 5, 7]), 2, Shape([2, 5, 11])), (Shape([6]), 0, Shape([13])),
    (Shape([2, 4]), 1, Shape([2, 0])),
    (Shape([40, 300]), 0, Shape([90, 300])), (Shape([300, 40]), 1, Shape([300, 90])),
  ])
  func gatherAndScatterMatchTheDefinition(_ shape: Shape, _ axis: Int, _ indexShape: Shape) {
    var generator = Philox(seed: 21)
    let x = Tensor.normal(shape, using: &generator)
    let source = Tensor.normal(indexShape, using: &generator)
    let indices = randomIndices(indexShape, below: shape[axis], &generator)
    let where_ = places(indices, axis: axis, of: shape)
    let values = x.floats
    poisonMemory(indexShape.elementCount)
    #expect(x.gathered(axis: axis, indices).floats == where_.map { values[$0] })
    #expect(
      x.cast(to: .bfloat16).gathered(axis: axis, indices.cast(to: .int32)).floats
        == x.cast(to: .bfloat16).floats.gather(where_))
    var sums = values.map(Double.init)
    for (place, value) in zip(where_, source.floats) { sums[place] += Double(value) }
    let scattered = x.scatterAdded(axis: axis, indices, source)
    #expect(relativeError(scattered.floats, sums) < 1e-6)
    let threads = ThreadPool.threads
    ThreadPool.threads = 1
    let serial = x.scatterAdded(axis: axis, indices, source)
    ThreadPool.threads = threads
    #expect(serial.floats == scattered.floats)
    if shape.elementCount < 200 {
      #expect(gradientError([x]) { $0[0].gathered(axis: axis, indices) } < 1e-3)
      #expect(gradientError([x, source]) { $0[0].scatterAdded(axis: axis, indices, $0[1]) } < 1e-3)
    }
  }

  @Test(arguments: [
    (Shape([5, 3, 4]), 0), (Shape([5, 3, 4]), 1), (Shape([5, 3, 40]), 2), (Shape([50, 700]), 0),
  ])
  func selectionAndItsGradient(_ shape: Shape, _ axis: Int) {
    var generator = Philox(seed: 22)
    let x = Tensor.normal(shape, using: &generator)
    let ids = randomIndices([37], below: shape[axis], &generator)
    let expected = Tensor.concatenated(
      ids.elements(as: Int64.self).map { x.sliced(axis: axis, Int($0)..<Int($0) + 1) }, axis: axis)
    #expect(x.indexSelected(axis: axis, ids).floats == expected.floats)
    #expect(gradientError([x]) { $0[0].indexSelected(axis: axis, ids) } < 1e-3)
    let weights = Tensor.normal(expected.shape, using: &generator)
    func gradient() -> [Float] {
      let leaf = x.requiringGradient()
      return leaf.indexSelected(axis: axis, ids).gradients(for: [leaf], seed: weights)[0].floats
    }
    let parallel = gradient()
    let threads = ThreadPool.threads
    ThreadPool.threads = 1
    #expect(gradient() == parallel)
    ThreadPool.threads = threads
  }

  @Test func embeddingAndOneHot() {
    var generator = Philox(seed: 23)
    let table = Tensor.normal([7, 5], using: &generator)
    let ids = Tensor([Int32(3), 0, 6, 3, 3, 1], shape: [2, 3])
    let rows = Tensor.embedding(table, ids)
    #expect(rows.shape == [2, 3, 5])
    #expect(rows.selected(axis: 0, 1).selected(axis: 0, 0).floats == table.selected(axis: 0, 3).floats)
    #expect(gradientError([table]) { Tensor.embedding($0[0], ids) } < 1e-3)
    let hot = Tensor.oneHot(Tensor([Int64(2), -1, 0]), classes: 3)
    #expect(hot.floats == [0, 0, 1, 0, 0, 0, 1, 0, 0])
  }

  @Test(arguments: [1, 2, 17, 511, 512, 3000], [false, true])
  func sortingIsStableAndPutsNaNLast(_ length: Int, _ descending: Bool) {
    var generator = Philox(seed: UInt64(length))
    // Few distinct values, so that there are many equals.
    var values = (0..<3 * length).map { _ in Float(generator.integer(max(2, length / 3))) - Float(length / 7)
    }
    values[0] = .nan
    if length > 2 { values[length + 2] = -.infinity; values[length + 1] = -0.0 }
    let x = Tensor(values, shape: [3, length])
    let (sorted, indices) = x.sorted(descending: descending)
    let positions = indices.elements(as: Int64.self)
    func isBefore(_ a: Float, _ b: Float) -> Bool { a.isNaN ? false : b.isNaN ? true : a < b }
    for row in 0..<3 {
      let line = Array(values[row * length..<(row + 1) * length])
      let expected = line.indices.sorted {
        let (a, b) = descending ? (line[$1], line[$0]) : (line[$0], line[$1])
        return isBefore(a, b) || (!isBefore(b, a) && $0 < $1)
      }
      #expect(positions[row * length..<(row + 1) * length].map(Int.init) == expected)
      let got = sorted.floats[row * length..<(row + 1) * length].map(\.bitPattern)
      #expect(got == expected.map { line[$0].bitPattern })
    }
    for count in Set([0, 1, length / 20, length / 2, length]) {
      let top = x.topK(count, largest: descending)
      let expected = (0..<3).flatMap { positions[$0 * length..<$0 * length + count] }
      #expect(top.indices.elements(as: Int64.self) == expected)
    }
    let columns = x.transposed().contiguous()
    #expect(
      columns.argsorted(axis: 0, descending: descending).transposed().elements(as: Int64.self) == positions)
  }

  @Test func sortingGradients() {
    var generator = Philox(seed: 24)
    let x = Tensor.normal([4, 6, 3], using: &generator)
    #expect(gradientError([x], step: 1e-4) { $0[0].sorted(axis: 1).values } < 5e-3)
    #expect(gradientError([x], step: 1e-4) { $0[0].topK(2, axis: 1, largest: false).values } < 5e-3)
    #expect(gradientError([x], step: 1e-4) { $0[0].topK(3, axis: 0).values.squared() } < 5e-3)
  }
}

extension [Float] {
  fileprivate func gather(_ positions: [Int]) -> [Float] { positions.map { self[$0] } }
}
