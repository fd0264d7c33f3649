import BraidTestSupport
import CBraidKernels
import Testing

@testable import BraidTensor

@Suite struct BlockKernelTests {
  static let sizes = [
    (1, 1, 1), (1, 17, 5), (14, 32, 16), (15, 33, 17), (64, 64, 64), (63, 65, 31), (70, 8, 200), (5, 40, 500),
    (128, 20, 128), (7, 3, 0),
  ]

  static let shapes: [(braid_block_shape, braid_block_shape)] = [
    (BRAID_BLOCK_FULL, BRAID_BLOCK_FULL), (BRAID_BLOCK_LOWER, BRAID_BLOCK_FULL),
    (BRAID_BLOCK_UPPER, BRAID_BLOCK_FULL), (BRAID_BLOCK_FULL, BRAID_BLOCK_LOWER),
    (BRAID_BLOCK_FULL, BRAID_BLOCK_UPPER), (BRAID_BLOCK_LOWER, BRAID_BLOCK_LOWER),
  ]

  static func isInside(_ shape: braid_block_shape, _ i: Int, _ j: Int) -> Bool {
    shape == BRAID_BLOCK_FULL || (shape == BRAID_BLOCK_LOWER ? j <= i : j >= i)
  }

  /// Every layout, triangle and scale against sums in float64; what lies between the rows of C stays as it was.
  @Test(arguments: allLevels.map(\.rawValue))
  func productsMatchTheirDefinition(_ level: UInt32) {
    let kernel = braid_kernels_at(braid_level(level)).pointee.block
    for (m, n, k) in Self.sizes {
      for (aShape, cShape) in Self.shapes {
        for variant in 0..<8 {
          let (aTransposed, bTransposed, hasMore) = (variant & 1 != 0, variant & 2 != 0, variant & 4 != 0)
          let aRow = (aTransposed ? m : k) + 3
          let bRow = (bTransposed ? k : n) + 5
          let cRow = n + 2
          var a = GEMMTests.numbers((aTransposed ? k : m) * aRow, seed: 1)
          let b = GEMMTests.numbers((bTransposed ? n : k) * bRow, seed: 2)
          let scales = GEMMTests.numbers(m, seed: 3)
          let start =
            hasMore ? GEMMTests.numbers(m * cRow, seed: 4) : [Float](repeating: .nan, count: m * cRow)
          // A margin of columns left of a lower triangle is always read.
          let margin = hasMore && aShape == BRAID_BLOCK_LOWER ? min(3, k) : 0
          for i in 0..<m {
            for l in 0..<k where !Self.isInside(aShape, i, l - margin) {
              a[aTransposed ? l * aRow + i : i * aRow + l] = 0
            }
          }
          let fetched = [Float](repeating: 0, count: 64)
          var ahead = braid_block_ahead()
          ahead.rows = 4
          ahead.at_once = 3
          var c = start
          var product = braid_block_product()
          (product.m, product.n, product.k) = (m, n, k)
          (product.a_row, product.b_row, product.c_row) = (aRow, bRow, cRow)
          product.a_transposed = aTransposed ? 1 : 0
          product.b_transposed = bTransposed ? 1 : 0
          product.alpha = hasMore ? -0.5 : 1
          product.beta = hasMore ? 0.25 : 0
          product.a_shape = aShape
          product.a_margin = margin
          product.c_shape = cShape
          a.withUnsafeBufferPointer { a in
            b.withUnsafeBufferPointer { b in
              scales.withUnsafeBufferPointer { scales in
                c.withUnsafeMutableBufferPointer { c in
                  product.a = a.baseAddress
                  product.b = b.baseAddress
                  product.c = c.baseAddress
                  product.row_scale = hasMore ? scales.baseAddress : nil
                  product.row_beta = hasMore ? scales.baseAddress : nil
                  guard hasMore else { return kernel.multiply(&product) }
                  fetched.withUnsafeBufferPointer {
                    braid_block_ahead_add(&ahead, $0.baseAddress, 16, 16)
                    withUnsafeMutablePointer(to: &ahead) {
                      product.ahead = $0
                      kernel.multiply(&product)
                    }
                  }
                }
              }
            }
          }
          var (actual, truth): ([Float], [Double]) = ([], [])
          var outside = true
          for i in 0..<m {
            for j in 0..<cRow {
              if j >= n {
                outside = outside && c[i * cRow + j].bitPattern == start[i * cRow + j].bitPattern
                continue
              }
              guard Self.isInside(cShape, i, j) else { continue }
              var sum = 0.0
              for l in 0..<k {
                let x = a[aTransposed ? l * aRow + i : i * aRow + l]
                sum += Double(x) * Double(b[bTransposed ? j * bRow + l : l * bRow + j])
              }
              actual.append(c[i * cRow + j])
              truth.append(
                hasMore ? Double(scales[i]) * (0.25 * Double(start[i * cRow + j]) - 0.5 * sum) : sum)
            }
          }
          let error = relativeError(actual, truth)
          #expect(
            outside && error < GEMMTests.tolerance(k),
            "\(m)x\(n)x\(k), shapes \(aShape.rawValue) \(cShape.rawValue), variant \(variant): \(error)")
        }
      }
    }
  }
}
