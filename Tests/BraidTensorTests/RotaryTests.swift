import BraidTestSupport
import Foundation
import Testing

@testable import BraidTensor

@Suite struct RotaryTests {
  @Test(arguments: RotaryForm.allCases, [(8, 0), (6, 3), (2, 1)])
  func rotationMatchesTheDefinition(_ form: RotaryForm, _ setting: (dimensions: Int, offset: Int)) {
    var generator = Philox(seed: 41)
    let (dimensions, offset) = setting
    let x = Tensor.normal([2, 5, 3, 8], using: &generator)
    let table = RotaryTable(positions: 9, dimensions: dimensions, base: 100)
    let values = x.floats
    var expected = values.map(Double.init)
    for token in 0..<10 {
      for head in 0..<3 {
        for pair in 0..<dimensions / 2 {
          let start = (token * 3 + head) * 8
          let first = start + (form == .halves ? pair : 2 * pair)
          let second = form == .halves ? first + dimensions / 2 : first + 1
          let angle =
            Double(token % 5 + offset) * pow(100, -2 * Double(pair) / Double(dimensions))
          let (a, b) = (Double(values[first]), Double(values[second]))
          expected[first] = a * cos(angle) - b * sin(angle)
          expected[second] = a * sin(angle) + b * cos(angle)
        }
      }
    }
    poisonMemory(x.elementCount)
    #expect(relativeError(x.rotated(table, form: form, offset: offset).floats, expected) < 1e-6)
    #expect(gradientError([x]) { $0[0].rotated(table, form: form, offset: offset) } < 1e-3)
  }
}

@Suite struct TriangularSolveTests {
  @Test(arguments: [(1, 1), (5, 3), (17, 70), (33, 16)], [false, true])
  func solutionsSatisfyTheEquation(_ size: (n: Int, m: Int), _ upper: Bool) {
    var generator = Philox(seed: 42)
    let (n, m) = size
    for unitDiagonal in [false, true] {
      // A dominant diagonal keeps the system well conditioned; the other triangle holds NaN and must not be read.
      let noise = Tensor.normal([2, n, n], standardDeviation: 0.3, using: &generator).floats
      var triangle = noise
      var read = noise
      for index in 0..<2 * n * n {
        let (i, j) = (index / n % n, index % n)
        if i == j {
          triangle[index] = unitDiagonal ? 1 : 2 + abs(noise[index])
          read[index] = unitDiagonal ? .nan : triangle[index]
        } else if (j > i) != upper {
          triangle[index] = 0
          read[index] = .nan
        }
      }
      let right = Tensor.normal([2, n, m], using: &generator)
      poisonMemory(2 * n * m)
      let x = Tensor.triangularSolve(
        Tensor(read, shape: [2, n, n]), right, upper: upper, unitDiagonal: unitDiagonal)
      let solution = x.floats
      let product = (0..<2 * n * m).map { index -> Double in
        let (b, i, k) = (index / (n * m), index / m % n, index % m)
        return (0..<n).reduce(0.0) {
          $0 + Double(triangle[(b * n + i) * n + $1]) * Double(solution[(b * n + $1) * m + k])
        }
      }
      #expect(relativeError(right.floats, product) < 2e-6)
      let matrix = Tensor(triangle, shape: [2, n, n])
      if n <= 5 {
        func solve(_ inputs: [Tensor]) -> Tensor {
          Tensor.triangularSolve(inputs[0], inputs[1], upper: upper, unitDiagonal: unitDiagonal)
        }
        #expect(gradientError([matrix, right], solve) < 2e-3)
        #expect(gradientError([matrix, right.selected(axis: 0, 0)], solve) < 2e-3)
        #expect(gradientError([matrix.selected(axis: 0, 1), right], solve) < 2e-3)
      }
    }
  }

  @Test func trianglesKeepTheirSide() {
    let x = Tensor.range(9).reshaped(3, 3) + 1
    #expect(x.lowerTriangle().floats == [1, 0, 0, 4, 5, 0, 7, 8, 9])
    #expect(x.upperTriangle(diagonal: 1).floats == [0, 2, 3, 0, 0, 6, 0, 0, 0])
    #expect(x.lowerTriangle(diagonal: -1).floats == [0, 0, 0, 4, 0, 0, 7, 8, 0])
  }
}
