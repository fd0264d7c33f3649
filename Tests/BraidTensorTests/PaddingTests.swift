import BraidTestSupport
import Testing

@testable import BraidTensor

@Suite struct PaddingTests {
  /// The index that numpy.pad takes, found by walking one step at a time.
  private func walk(_ index: Int, _ size: Int, _ mode: PaddingMode) -> Int? {
    if index >= 0 && index < size { return index }
    switch mode {
    case .constant: return nil
    case .replicate: return min(max(index, 0), size - 1)
    case .circular: return walk(index < 0 ? index + size : index - size, size, mode)
    case .reflect: return size == 1 ? 0 : walk(index < 0 ? -index : 2 * (size - 1) - index, size, mode)
    }
  }

  @Test(arguments: [PaddingMode.zeros, .constant(-2.5), .reflect, .replicate, .circular])
  func everyModeMatchesTheDefinition(_ mode: PaddingMode) {
    let cases: [([Int], [AxisPadding])] = [
      (
        [2, 5, 7, 3], [AxisPadding(axis: 1, before: 2, after: 3), AxisPadding(axis: -2, before: 4, after: 1)]
      ),
      (
        [1, 3, 1, 2], [AxisPadding(axis: 1, before: 7, after: 0), AxisPadding(axis: 2, before: 2, after: 2)]
      ),
      ([4, 6], [AxisPadding(axis: 0, before: 1, after: 2), AxisPadding(axis: 1, before: 5, after: 9)]),
      ([70_001], [AxisPadding(axis: 0, before: 3, after: 4)]),
      (
        [3, 2, 4],
        [
          AxisPadding(axis: 2, before: 1, after: 0), AxisPadding(axis: 0, before: 0, after: 1),
          AxisPadding(axis: 1, before: 1, after: 1),
        ]
      ),
    ]
    var generator = Philox(seed: 1)
    for (dimensions, padding) in cases {
      let x = Tensor.normal(Shape(dimensions), using: &generator)
      poisonMemory(x.elementCount * 16)
      let y = x.padded(padding, mode: mode)
      var before = [Int](repeating: 0, count: dimensions.count)
      var target = dimensions
      for amount in padding {
        let axis = amount.axis < 0 ? amount.axis + dimensions.count : amount.axis
        before[axis] = amount.before
        target[axis] += amount.before + amount.after
      }
      #expect(y.shape == Shape(target))
      var constant: Float = 0
      if case .constant(let value) = mode { constant = value }
      let values = x.floats
      let expected = (0..<y.elementCount).map { flat -> Float in
        var rest = flat
        var at = 0
        var step = 1
        for axis in stride(from: dimensions.count - 1, through: 0, by: -1) {
          guard let index = walk(rest % target[axis] - before[axis], dimensions[axis], mode) else {
            return constant
          }
          at += index * step
          step *= dimensions[axis]
          rest /= target[axis]
        }
        return values[at]
      }
      #expect(y.floats == expected)
      if x.elementCount < 1000 {
        #expect(gradientError([x]) { $0[0].padded(padding, mode: mode) } < 1e-3)
      }
    }
  }

  @Test func otherTypesAndViewsArePadded() {
    let x = Tensor([Int64(1), 2, 3, 4, 5, 6], shape: [2, 3]).transposed()
    #expect(
      x.padded(axis: 0, before: 1, after: 1, mode: .reflect).elements(as: Int64.self)
        == [2, 5, 1, 4, 2, 5, 3, 6, 2, 5])
    #expect(
      Tensor([UInt8(7), 9]).padded(axis: 0, before: 1, mode: .constant(3)).elements(as: UInt8.self)
        == [3, 7, 9])
    let y = Tensor.range(12).reshaped(1, 2, 2, 3).paddedImage(top: 1, right: 2, mode: .replicate)
    #expect(y.shape == [1, 3, 4, 3])
    #expect(y.floats.suffix(9) == [9, 10, 11, 9, 10, 11, 9, 10, 11])
    #expect(Tensor.zeros([0, 2]).padded(axis: 0, before: 1, mode: .constant(1)).floats == [1, 1])
  }
}
