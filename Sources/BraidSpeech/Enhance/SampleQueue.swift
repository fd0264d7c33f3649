/// Samples of one channel that wait: added at the end, taken from the front.
struct SampleQueue {
  private var samples: [Float] = []
  private var first = 0

  var count: Int { samples.count - first }

  mutating func append(_ more: [Float]) {
    // What was taken goes once it is the larger part: every sample is moved about once.
    if first > 4096 && first > samples.count / 2 {
      samples.removeFirst(first)
      first = 0
    }
    samples += more
  }

  /// The first samples, which stay.
  func prefix(_ length: Int) -> [Float] { Array(samples[first..<first + length]) }

  /// Drops the first samples.
  mutating func remove(_ length: Int) {
    first += length
    if first == samples.count {
      samples.removeAll(keepingCapacity: true)
      first = 0
    }
  }

  mutating func take(_ length: Int) -> [Float] {
    defer { remove(length) }
    return prefix(length)
  }
}
