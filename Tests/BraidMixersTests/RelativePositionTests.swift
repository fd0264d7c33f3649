import BraidMixers
import Testing

@Suite struct RelativePositionTests {
  @Test(arguments: [1, 2, 7, 16])
  func windowTablesCoverTheBias(window: Int) {
    let table = RelativePosition.index(window: window)
    let side = 2 * window - 1
    #expect(Set(table) == Set(0..<Int64(side * side)))
    // A position and itself: the centre.
    for i in 0..<window * window { #expect(table[i * window * window + i] == Int64(side * side / 2)) }
  }

  @Test func overlappingTablesAreThePublishedOnes() {
    let table = RelativePosition.overlappingIndex(window: 16, overlapWindow: 24)
    #expect(table.count == 256 * 576)
    #expect(table.min() == -880 && table.max() == 640)
    // Counted from the end where negative, they cover the bias table of 39 x 39.
    #expect(Set(table).count == 1521 && Set(table.map { ($0 % 1521 + 1521) % 1521 }).count == 1521)
  }
}
