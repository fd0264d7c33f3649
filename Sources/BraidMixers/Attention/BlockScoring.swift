import BraidTensor
import Foundation

// How blocks of keys are chosen: means of blocks, scores, and the largest of them.

extension Tensor {
  /// Means over blocks of axis 1 [B, L, H, D]: [B, blocks, H, D]; the last block's over what it has.
  func blockMeans(_ block: Int) -> Tensor {
    let (length, whole) = (shape[1], shape[1] / block)
    var parts: [Tensor] = []
    if whole > 0 {
      parts.append(
        sliced(axis: 1, 0..<whole * block).reshaped(shape[0], whole, block, shape[2], shape[3]).mean(axes: [2]
        ))
    }
    if whole * block < length {
      parts.append(sliced(axis: 1, whole * block..<length).mean(axes: [1], keepingAxes: true))
    }
    return parts.count == 1 ? parts[0] : Tensor.concatenated(parts, axis: 1)
  }
}

/// The numbers of the largest of a row of scores.
enum LargestScores {
  /// Adds exp(score) / Σ exp of scores 0..<count to sums.
  static func addSoftmax(_ scores: UnsafePointer<Float>, _ count: Int, to sums: UnsafeMutablePointer<Float>) {
    var most = -Float.infinity
    for i in 0..<count { most = max(most, scores[i]) }
    withUnsafeTemporaryAllocation(of: Float.self, capacity: Swift.max(1, count)) { e in
      var total: Float = 0
      for i in 0..<count {
        e[i] = exp(scores[i] - most)
        total += e[i]
      }
      for i in 0..<count { sums[i] += e[i] / total }
    }
  }

  /// Writes the positions, shifted by `offset`, of the `count` largest of scores 0..<n to `out`, in falling order and
  /// the earlier of equal ones first; -1 where there are fewer.
  static func write(
    _ scores: UnsafePointer<Float>, _ n: Int, count: Int, offset: Int, to out: UnsafeMutablePointer<Int32>
  ) {
    var held = 0
    withUnsafeTemporaryAllocation(of: Float.self, capacity: Swift.max(1, count)) { best in
      for i in 0..<n {
        let score = scores[i]
        if held == count && !(score > best[held - 1]) { continue }
        var place = held < count ? held : held - 1
        while place > 0 && score > best[place - 1] {
          best[place] = best[place - 1]
          out[place] = out[place - 1]
          place -= 1
        }
        best[place] = score
        out[place] = Int32(i + offset)
        if held < count { held += 1 }
      }
    }
    for place in held..<count { out[place] = -1 }
  }
}
