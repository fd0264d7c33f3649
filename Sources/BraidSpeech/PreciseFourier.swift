import Foundation

/// The discrete Fourier transform of one length in double precision, by mixed radices.
///
/// The phase of a weak bin is only as exact as the transform's rounding against the strongest bin; networks that
/// read phases need more than single precision gives.
struct PreciseFourier: Sendable {
  let length: Int
  /// Radix, length left behind the stage, and where its factors begin in `turns`.
  private struct Stage {
    let radix, rest, done, turns: Int
  }
  private let stages: [Stage]
  /// For each stage, for 0 < j < radix and p < done: exp(-2 pi i j p / (done radix)), cosines then sines.
  private let turns: [Double]
  /// exp(-2 pi i k / length): cosines and sines, for radices without a butterfly of their own.
  private let cosine: [Double]
  private let sine: [Double]

  init(length: Int) {
    self.length = length
    cosine = (0..<length).map { cos(2 * .pi * Double($0) / Double(length)) }
    sine = (0..<length).map { -sin(2 * .pi * Double($0) / Double(length)) }
    var stages: [Stage] = []
    var turns: [Double] = []
    var (rest, done, radix) = (length, 1, 4)
    while rest > 1 {
      while rest % radix != 0 { radix = radix == 4 ? 2 : radix == 2 ? 3 : radix + 2 }
      rest /= radix
      stages.append(Stage(radix: radix, rest: rest, done: done, turns: turns.count))
      for part in [cosine, sine] {
        for j in 1..<radix { for p in 0..<done { turns.append(part[j * p * rest % length]) } }
      }
      done *= radix
    }
    self.stages = stages
    self.turns = turns
  }

  /// The spectrum of real samples: `length` numbers to as many (real, imaginary) pairs; `scratch` holds
  /// 2 x `length` numbers.
  func transform(
    _ x: UnsafePointer<Double>, real: UnsafeMutablePointer<Double>, imaginary: UnsafeMutablePointer<Double>,
    scratch: UnsafeMutablePointer<Double>
  ) {
    // Stockham: stage by stage between two buffers, the last result in `real` and `imaginary`.
    var a = Pairs(real: scratch, imaginary: scratch + length)
    var b = Pairs(real: real, imaginary: imaginary)
    if stages.count % 2 == 0 { swap(&a, &b) }
    a.real.update(from: x, count: length)
    a.imaginary.update(repeating: 0, count: length)
    turns.withUnsafeBufferPointer { turns in
      for stage in stages {
        let factors = turns.baseAddress.map { $0 + stage.turns }
        switch stage.radix {
        case 2: Self.pairs(stage, factors!, a, b)
        case 3: Self.threes(stage, factors!, a, b)
        case 4: Self.fours(stage, factors!, a, b)
        case 5: Self.fives(stage, factors!, a, b)
        default: general(stage, a, b)
        }
        swap(&a, &b)
      }
    }
  }

  private struct Pairs {
    let real, imaginary: UnsafeMutablePointer<Double>

    @inline(__always) subscript(_ i: Int) -> Number {
      get { Number(real[i], imaginary[i]) }
      nonmutating set {
        real[i] = newValue.re
        imaginary[i] = newValue.im
      }
    }
  }

  /// A complex number.
  private struct Number {
    let re, im: Double
    @inline(__always) init(_ re: Double, _ im: Double) {
      self.re = re
      self.im = im
    }
    @inline(__always) static func + (a: Number, b: Number) -> Number { Number(a.re + b.re, a.im + b.im) }
    @inline(__always) static func - (a: Number, b: Number) -> Number { Number(a.re - b.re, a.im - b.im) }
    @inline(__always) static func * (a: Number, s: Double) -> Number { Number(a.re * s, a.im * s) }
    /// times -i
    @inline(__always) var turned: Number { Number(im, -re) }
  }

  /// Calls `butterfly` with the `radix` numbers of each group, turned, and where its results go, `done` apart.
  @inline(__always) private static func each(
    _ stage: Stage, _ turns: UnsafePointer<Double>, _ a: Pairs,
    _ butterfly: (_ number: (Int) -> Number, _ to: Int) -> Void
  ) {
    let (done, rest, radix) = (stage.done, stage.rest, stage.radix)
    let sines = turns + (radix - 1) * done
    for q in 0..<rest {
      for p in 0..<done {
        butterfly(
          { j in
            let x = a[p + done * (q + rest * j)]
            if j == 0 { return x }
            let (c, s) = (turns[(j - 1) * done + p], sines[(j - 1) * done + p])
            return Number(x.re * c - x.im * s, x.re * s + x.im * c)
          }, p + done * radix * q)
      }
    }
  }

  private static func pairs(_ stage: Stage, _ turns: UnsafePointer<Double>, _ a: Pairs, _ b: Pairs) {
    each(stage, turns, a) { x, to in
      let (x0, x1) = (x(0), x(1))
      b[to] = x0 + x1
      b[to + stage.done] = x0 - x1
    }
  }

  private static func threes(_ stage: Stage, _ turns: UnsafePointer<Double>, _ a: Pairs, _ b: Pairs) {
    let half = 0.75.squareRoot()
    each(stage, turns, a) { x, to in
      let (x0, x1, x2) = (x(0), x(1), x(2))
      let (sum, side) = (x1 + x2, (x1 - x2).turned * half)
      let middle = x0 - sum * 0.5
      b[to] = x0 + sum
      b[to + stage.done] = middle + side
      b[to + 2 * stage.done] = middle - side
    }
  }

  private static func fours(_ stage: Stage, _ turns: UnsafePointer<Double>, _ a: Pairs, _ b: Pairs) {
    each(stage, turns, a) { x, to in
      let (x0, x1, x2, x3) = (x(0), x(1), x(2), x(3))
      let (even, odd, evens, odds) = (x0 + x2, x1 + x3, x0 - x2, (x1 - x3).turned)
      b[to] = even + odd
      b[to + stage.done] = evens + odds
      b[to + 2 * stage.done] = even - odd
      b[to + 3 * stage.done] = evens - odds
    }
  }

  private static func fives(_ stage: Stage, _ turns: UnsafePointer<Double>, _ a: Pairs, _ b: Pairs) {
    let (c1, s1) = (cos(0.4 * Double.pi), sin(0.4 * Double.pi))
    let (c2, s2) = (cos(0.8 * Double.pi), sin(0.8 * Double.pi))
    each(stage, turns, a) { x, to in
      let (x0, x1, x2, x3, x4) = (x(0), x(1), x(2), x(3), x(4))
      let (outer, inner) = (x1 + x4, x2 + x3)
      let (outers, inners) = ((x1 - x4).turned, (x2 - x3).turned)
      let (m1, m2) = (x0 + outer * c1 + inner * c2, x0 + outer * c2 + inner * c1)
      let (n1, n2) = (outers * s1 + inners * s2, outers * s2 - inners * s1)
      b[to] = x0 + outer + inner
      b[to + stage.done] = m1 + n1
      b[to + 2 * stage.done] = m2 + n2
      b[to + 3 * stage.done] = m2 - n2
      b[to + 4 * stage.done] = m1 - n1
    }
  }

  private func general(_ stage: Stage, _ a: Pairs, _ b: Pairs) {
    let (done, rest, radix) = (stage.done, stage.rest, stage.radix)
    for q in 0..<rest {
      for p in 0..<done {
        for k in 0..<radix {
          let step = (p + done * k) * rest % length
          var turn = 0
          var sum = Number(0, 0)
          for j in 0..<radix {
            let x = a[p + done * (q + rest * j)]
            let (c, s) = (cosine[turn], sine[turn])
            sum = sum + Number(x.re * c - x.im * s, x.re * s + x.im * c)
            turn += step
            if turn >= length { turn -= length }
          }
          b[p + done * (k + radix * q)] = sum
        }
      }
    }
  }
}

extension PreciseFourier {
  /// |X|^2 of real samples, bins 0 ... length / 2.
  func power(_ samples: [Double]) -> [Double] {
    withUnsafeTemporaryAllocation(of: Double.self, capacity: 4 * length) { memory in
      let real = memory.baseAddress!
      let imaginary = real + length
      samples.withUnsafeBufferPointer {
        transform($0.baseAddress!, real: real, imaginary: imaginary, scratch: real + 2 * length)
      }
      return (0...length / 2).map { real[$0] * real[$0] + imaginary[$0] * imaginary[$0] }
    }
  }
}
