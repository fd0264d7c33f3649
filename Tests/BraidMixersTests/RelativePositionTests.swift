import BraidTensor
import Testing

@testable import BraidMixers

@Suite struct RelativePositionTests {
  @Test(arguments: [(2, 3), (4, 6), (8, 12)])
  func tablesOfPositionsAreThoseOfTheOperations(_ window: Int, _ overlap: Int) {
    var g = Philox(seed: 3)
    func gathered(_ values: [Float], _ index: [Int]) -> [Float] {
      (0..<2).flatMap { head in index.map { values[$0 * 2 + head] } }
    }
    let side = 2 * window - 1
    let table = Tensor.normal([side * side, 2], using: &g)
    let index = RelativePosition.index(window: window).map(Int.init)
    #expect(relativePositionBias(table, window: window).floats == gathered(table.floats, index))

    let wide = window + overlap - 1
    let overlapTable = Tensor.normal([wide * wide, 2], using: &g)
    let overlapIndex = RelativePosition.overlappingIndex(window: window, overlapWindow: overlap).map {
      (Int($0) % (wide * wide) + wide * wide) % (wide * wide)
    }
    #expect(Set(overlapIndex).count == wide * wide)
    let bias = overlappingPositionBias(overlapTable, window: window, overlapWindow: overlap)
    #expect(bias.floats == gathered(overlapTable.floats, overlapIndex))
  }
}
