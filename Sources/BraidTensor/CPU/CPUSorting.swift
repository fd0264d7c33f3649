extension CPU {
  /// The positions of the first `count` elements of each row [.., n] in order, as int64 [.., count].
  static func order(_ x: Tensor, count: Int, descending: Bool) -> Tensor {
    let length = x.shape[-1]
    let rows = x.elementCount / Swift.max(1, length)
    var dimensions = x.shape.dimensions
    dimensions[dimensions.count - 1] = count
    return x.read { values in
      Tensor.build(Shape(dimensions), as: Int64.self) { out in
        parallelRanges(rows, minimum: Swift.max(1, 4096 / Swift.max(1, length))) { range in
          withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 2 * length) { buffer in
            var keys = UnsafeMutableBufferPointer(rebasing: buffer[..<length])
            let spare = UnsafeMutableBufferPointer(rebasing: buffer[length...])
            for row in range {
              let line = values + row * length
              let target = out + row * count
              if count * 8 < length {
                smallest(keys, count, line, length, descending)
              } else {
                for i in 0..<length { keys[i] = key(line[i], i, descending) }
                if length < 512 { keys.sort() } else { radixSort(keys, spare) }
              }
              for i in 0..<count { target[i] = Int64(keys[i] & 0xFFFF_FFFF) }
            }
          }
        }
      }
    }
  }

  /// A number that sorts as (element, position) does: NaN last, -0 equal to 0.
  @inline(__always)
  private static func key(_ x: Float, _ index: Int, _ descending: Bool) -> UInt64 {
    let bits = x == 0 ? 0 : x.bitPattern
    var rank = bits >> 31 == 0 ? bits | 0x8000_0000 : ~bits
    if x.isNaN { rank = .max }
    return UInt64(descending ? ~rank : rank) << 32 | UInt64(index)
  }

  /// Puts the `count` smallest keys of a row, in order, at the start of `heap`.
  private static func smallest(
    _ heap: UnsafeMutableBufferPointer<UInt64>, _ count: Int, _ line: UnsafePointer<Float>, _ length: Int,
    _ descending: Bool
  ) {
    guard count > 0 else { return }
    // A heap with the largest kept key on top.
    for i in 0..<count {
      var child = i
      let new = key(line[i], i, descending)
      while child > 0 {
        let parent = (child - 1) / 2
        if heap[parent] >= new { break }
        heap[child] = heap[parent]
        child = parent
      }
      heap[child] = new
    }
    for i in count..<Swift.max(count, length) {
      let new = key(line[i], i, descending)
      if new > heap[0] { continue }
      var hole = 0
      while true {
        var child = 2 * hole + 1
        if child >= count { break }
        if child + 1 < count && heap[child + 1] > heap[child] { child += 1 }
        if heap[child] <= new { break }
        heap[hole] = heap[child]
        hole = child
      }
      heap[hole] = new
    }
    var kept = UnsafeMutableBufferPointer(rebasing: heap[..<count])
    kept.sort()
  }

  /// Sorts by the upper 32 bits, keeping the order of equals; `keys` holds the result.
  private static func radixSort(
    _ keys: UnsafeMutableBufferPointer<UInt64>, _ spare: UnsafeMutableBufferPointer<UInt64>
  ) {
    let buckets = 256
    withUnsafeTemporaryAllocation(of: Int.self, capacity: buckets) { starts in
      var from = keys
      var to = spare
      for shift in stride(from: UInt64(32), to: 64, by: 8) {
        starts.initialize(repeating: 0)
        for key in from { starts[Int(key >> shift & 255)] += 1 }
        var total = 0
        for bucket in 0..<buckets {
          let size = starts[bucket]
          starts[bucket] = total
          total += size
        }
        for key in from {
          let bucket = Int(key >> shift & 255)
          to[starts[bucket]] = key
          starts[bucket] += 1
        }
        swap(&from, &to)
      }
    }
  }
}
