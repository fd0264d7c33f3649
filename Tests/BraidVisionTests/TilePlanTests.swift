import Testing

@testable import BraidVision

@Suite struct TilePlanTests {
  @Test(arguments: [1, 4, 16])
  func everyPixelIsCoveredAndSeamsAreOrdered(unit: Int) {
    for units in 1...40 {
      for tileUnits in [1, 2, 3, 5, 8, 40] {
        for overlap in [0, 1, 7, 16, 33, 500] {
          for margin in [nil, 0, 3, 40] as [Int?] {
            let axis = TilePlan.Axis(
              length: units * unit, tile: tileUnits * unit, overlap: overlap, margin: margin, alignment: unit)
            #expect(axis.tile <= max(unit, tileUnits * unit))
            #expect(axis.starts.first == 0)
            #expect(axis.starts.last! + axis.tile == axis.length)
            #expect(axis.starts.allSatisfy { $0.isMultiple(of: unit) } && axis.tile.isMultiple(of: unit))
            #expect(axis.seams.count == axis.starts.count - 1)
            var end = 0
            for (index, seam) in axis.seams.enumerated() {
              // Inside both neighbours, and after the seam before.
              #expect(seam.lowerBound >= max(end, axis.starts[index + 1]))
              #expect(seam.upperBound <= axis.starts[index] + axis.tile)
              end = seam.upperBound
            }
          }
        }
      }
    }
  }

  @Test func theWorkIsSpreadEvenly() {
    let axis = TilePlan.Axis(length: 1040, tile: 1024, overlap: 64, margin: 24, alignment: 16)
    #expect(axis.starts == [0, 480])
    #expect(axis.tile == 560)
    // What the overlap of 64 leaves beside two margins, in the middle of what is shared.
    #expect(axis.seams == [512..<528])
  }

  @Test func theTileFollowsFromTheBudget() {
    let model = BoxModel(sizeMultiple: 16, bytesPerPixel: 100)
    func limit(_ height: Int, _ width: Int, _ budget: Int) -> [Int] {
      let limit = TilePlan.limit(height: height, width: width, model: model, budget: budget)
      return [limit.height, limit.width]
    }
    #expect(limit(320, 320, 320 * 320 * 100) == [320, 320])
    #expect(limit(320, 320, 320 * 320 * 100 - 1) == [304, 304])
    #expect(limit(32, 10_000, 64 * 64 * 100) == [32, 128])
    #expect(limit(320, 320, 0) == [16, 16])
  }

  @Test func theStandardBudgetFitsTheMachine() {
    #expect(MemoryBudget.available > 0)
    #expect(MemoryBudget.standard >= 64 << 20 && MemoryBudget.standard <= 2 << 30)
  }
}
