/// A counter-based random generator (Philox 4x32-10; Salmon et al., "Parallel random numbers: as easy as
/// 1, 2, 3", 2011): block i depends on (seed, stream, i) alone, so draws do not depend on threads or order.
public struct Philox: Sendable, Codable, Hashable, RandomNumberGenerator {
  public let seed: UInt64
  /// Tells apart independent sequences of one seed.
  public let stream: UInt64
  /// The next block to be drawn.
  public var counter: UInt64
  private var buffered: UInt64?

  public init(seed: UInt64, stream: UInt64 = 0, counter: UInt64 = 0) {
    self.seed = seed
    self.stream = stream
    self.counter = counter
  }

  /// The generator of the same seed for another purpose, named by a number.
  public func split(_ purpose: UInt64) -> Philox {
    let mixed = Philox(seed: seed, stream: stream ^ 0x9E37_79B9_7F4A_7C15).block(purpose)
    return Philox(seed: seed, stream: UInt64(mixed.0) << 32 | UInt64(mixed.1))
  }

  /// The four words of block `index`.
  @inline(__always)
  public func block(_ index: UInt64) -> (UInt32, UInt32, UInt32, UInt32) {
    var c0 = UInt32(truncatingIfNeeded: index)
    var c1 = UInt32(truncatingIfNeeded: index >> 32)
    var c2 = UInt32(truncatingIfNeeded: stream)
    var c3 = UInt32(truncatingIfNeeded: stream >> 32)
    var k0 = UInt32(truncatingIfNeeded: seed)
    var k1 = UInt32(truncatingIfNeeded: seed >> 32)
    for _ in 0..<10 {
      let p0 = UInt64(c0) &* 0xD251_1F53
      let p1 = UInt64(c2) &* 0xCD9E_8D57
      let n0 = UInt32(truncatingIfNeeded: p1 >> 32) ^ c1 ^ k0
      let n2 = UInt32(truncatingIfNeeded: p0 >> 32) ^ c3 ^ k1
      c1 = UInt32(truncatingIfNeeded: p1)
      c3 = UInt32(truncatingIfNeeded: p0)
      c0 = n0
      c2 = n2
      k0 = k0 &+ 0x9E37_79B9
      k1 = k1 &+ 0xBB67_AE85
    }
    return (c0, c1, c2, c3)
  }

  /// The next 64 random bits.
  public mutating func next() -> UInt64 {
    if let value = buffered {
      buffered = nil
      return value
    }
    let words = block(counter)
    counter &+= 1
    buffered = UInt64(words.2) << 32 | UInt64(words.3)
    return UInt64(words.0) << 32 | UInt64(words.1)
  }

  /// A number uniform in [0, 1).
  public mutating func uniform() -> Float { Float(next() >> 40) * 0x1p-24 }

  /// A number uniform in `range`.
  public mutating func uniform(_ range: ClosedRange<Float>) -> Float {
    range.lowerBound + (range.upperBound - range.lowerBound) * uniform()
  }

  /// An integer uniform in 0..<count.
  public mutating func integer(_ count: Int) -> Int {
    Int(next().multipliedFullWidth(by: UInt64(count)).high)
  }
}

extension Tensor {
  /// Numbers uniform in [0, 1) or in `range`; advances the generator past them.
  public static func uniform(
    _ shape: Shape, in range: ClosedRange<Float> = 0...1, using generator: inout Philox
  ) -> Tensor {
    let width = range.upperBound - range.lowerBound
    return draw(shape, &generator) { words, out in
      out[0] = range.lowerBound + width * (Float(words.0 >> 8) * 0x1p-24)
      out[1] = range.lowerBound + width * (Float(words.1 >> 8) * 0x1p-24)
      out[2] = range.lowerBound + width * (Float(words.2 >> 8) * 0x1p-24)
      out[3] = range.lowerBound + width * (Float(words.3 >> 8) * 0x1p-24)
    }
  }

  /// Normally distributed numbers (Box-Muller); advances the generator past them.
  public static func normal(
    _ shape: Shape, mean: Float = 0, standardDeviation: Float = 1, using generator: inout Philox
  ) -> Tensor {
    draw(shape, &generator) { words, out in
      func pair(_ a: UInt32, _ b: UInt32) -> (Float, Float) {
        let radius = (-2 * scalarLog((Double(a) + 0.5) * 0x1p-32)).squareRoot()
        let angle = 2 * Double.pi * (Double(b) * 0x1p-32)
        return (Float(radius * scalarCos(angle)), Float(radius * scalarSin(angle)))
      }
      let (a, b) = pair(words.0, words.1)
      let (c, d) = pair(words.2, words.3)
      out[0] = mean + standardDeviation * a
      out[1] = mean + standardDeviation * b
      out[2] = mean + standardDeviation * c
      out[3] = mean + standardDeviation * d
    }
  }

  private static func draw(
    _ shape: Shape, _ generator: inout Philox,
    _ fill: (_ words: (UInt32, UInt32, UInt32, UInt32), _ out: UnsafeMutablePointer<Float>) -> Void
  ) -> Tensor {
    let count = shape.elementCount
    let blocks = (count + 3) / 4
    let source = generator
    generator = Philox(
      seed: source.seed, stream: source.stream, counter: source.counter &+ UInt64(blocks))
    return build(shape) { out in
      parallelRanges(blocks, minimum: 4096) { range in
        withUnsafeTemporaryAllocation(of: Float.self, capacity: 4) { last in
          for block in range {
            let words = source.block(source.counter &+ UInt64(block))
            if block * 4 + 4 <= count {
              fill(words, out + block * 4)
            } else {
              fill(words, last.baseAddress!)
              for i in block * 4..<count { out[i] = last[i - block * 4] }
            }
          }
        }
      }
    }
  }
}
