import Foundation

extension CPU {
  /// The plan that transforms real signals of an even length (complex ones of half that) a lane each, where the
  /// length has small factors only; KissFFT takes the others, and single signals so long that empty lanes would cost
  /// too much memory.
  private static func lanePlan(_ length: Int, rows: Int) -> FourierLanes? {
    length % 2 == 0 && (rows >= 4 || length <= 1 << 16) ? FourierLanes.of(length / 2) : nil
  }

  /// Rows of `x` transformed: `length` numbers from each, `bins` pairs into each.
  private static func rows(_ count: Int, _ length: Int, _ body: (Range<Int>) -> Void) {
    parallelRanges(count, minimum: Swift.max(1, 8192 / length), body)
  }

  /// [..., n] to [..., n / 2 + 1, 2]; bins other than the first and, for even n, the last are multiplied by
  /// `innerWeight` besides.
  static func realFourier(_ x: Tensor, scale: Float, innerWeight: Float = 1) -> Tensor {
    let length = x.shape[-1]
    let bins = length / 2 + 1
    let target = Shape(x.shape.dimensions.dropLast() + [bins, 2])
    if let plan = lanePlan(length, rows: x.elementCount / length) {
      return x.read { x in
        Tensor.build(target) { y in
          plan.real(x, target.elementCount / (2 * bins), y, scale: scale, innerWeight: innerWeight)
        }
      }
    }
    return x.read { x in
      Tensor.build(target) { y in
        rows(target.elementCount / (2 * bins), length) { range in
          withRealTransform(length) { transform in
            for row in range {
              let out = y + row * 2 * bins
              transform(x + row * length, out)
              weigh(out, length, scale, innerWeight)
            }
          }
        }
      }
    }
  }

  /// [..., length / 2 + 1, 2] to [..., length].
  static func inverseRealFourier(_ x: Tensor, length: Int, scale: Float, innerWeight: Float) -> Tensor {
    let bins = length / 2 + 1
    let target = Shape(x.shape.dimensions.dropLast(2) + [length])
    if let plan = lanePlan(length, rows: target.elementCount / length) {
      return x.read { x in
        Tensor.build(target) { y in
          plan.inverseReal(x, target.elementCount / length, y, scale: scale, innerWeight: innerWeight)
        }
      }
    }
    return x.read { x in
      Tensor.build(target) { y in
        rows(target.elementCount / length, length) { range in
          withInverseRealTransform(length) { transform in
            withUnsafeTemporaryAllocation(of: Float.self, capacity: 2 * bins) { weighted in
              let spectrum = weighted.baseAddress!
              for row in range {
                spectrum.update(from: x + row * 2 * bins, count: 2 * bins)
                weigh(spectrum, length, scale, innerWeight)
                transform(spectrum, y + row * length)
              }
            }
          }
        }
      }
    }
  }

  static func complexFourier(_ x: Tensor, inverse: Bool, scale: Float) -> Tensor {
    let length = x.shape[-2]
    let shape = x.shape
    if let plan = lanePlan(2 * length, rows: x.elementCount / (2 * length)) {
      return x.read { x in
        Tensor.build(shape) { y in
          plan.complex(x, shape.elementCount / (2 * length), y, inverse: inverse, scale: scale)
        }
      }
    }
    return x.read { x in
      Tensor.build(shape) { y in
        rows(shape.elementCount / (2 * length), length) { range in
          FourierPlan.with(inverse ? .inverseComplex : .complex, length) { plan in
            for row in range {
              let out = y + row * 2 * length
              plan.complex(x + row * 2 * length, out)
              if scale != 1 { for i in 0..<2 * length { out[i] *= scale } }
            }
          }
        }
      }
    }
  }

  /// Multiplies a half spectrum: the bins that have a mirror image by `scale` x `innerWeight`, the others by `scale`.
  private static func weigh(
    _ spectrum: UnsafeMutablePointer<Float>, _ length: Int, _ scale: Float, _ innerWeight: Float
  ) {
    if scale == 1 && innerWeight == 1 { return }
    let bins = length / 2 + 1
    let end = length % 2 == 0 ? bins - 1 : bins
    spectrum[0] *= scale
    spectrum[1] *= scale
    if end > 1 { for i in 2..<2 * end { spectrum[i] *= scale * innerWeight } }
    if end < bins && end > 0 {
      spectrum[2 * end] *= scale
      spectrum[2 * end + 1] *= scale
    }
  }

  private typealias Transform = (UnsafePointer<Float>, UnsafeMutablePointer<Float>) -> Void

  /// A forward transform of real rows: KissFFT's real one for even lengths, its complex one for odd.
  private static func withRealTransform(_ length: Int, _ body: (Transform) -> Void) {
    if length % 2 == 0 { return FourierPlan.with(.real, length) { plan in body { plan.real($0, $1) } } }
    FourierPlan.with(.complex, length) { plan in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: 4 * length) { buffer in
        let signal = buffer.baseAddress!
        let spectrum = signal + 2 * length
        body { x, y in
          for i in 0..<length {
            signal[2 * i] = x[i]
            signal[2 * i + 1] = 0
          }
          plan.complex(signal, spectrum)
          y.update(from: spectrum, count: length + 1)
        }
      }
    }
  }

  private static func withInverseRealTransform(_ length: Int, _ body: (Transform) -> Void) {
    if length % 2 == 0 {
      return FourierPlan.with(.inverseReal, length) { plan in body { plan.inverseReal($0, $1) } }
    }
    FourierPlan.with(.inverseComplex, length) { plan in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: 4 * length) { buffer in
        let spectrum = buffer.baseAddress!
        let signal = spectrum + 2 * length
        body { x, y in
          spectrum[0] = x[0]
          spectrum[1] = 0
          for k in 1..<Swift.max(1, length / 2 + 1) {
            spectrum[2 * k] = x[2 * k]
            spectrum[2 * k + 1] = x[2 * k + 1]
            spectrum[2 * (length - k)] = x[2 * k]
            spectrum[2 * (length - k) + 1] = -x[2 * k + 1]
          }
          plan.complex(spectrum, signal)
          for i in 0..<length { y[i] = signal[2 * i] }
        }
      }
    }
  }

  // MARK: Long convolution

  /// The smallest even number of at least `length` whose prime factors are 2, 3 and 5.
  static func fastFourierLength(_ length: Int) -> Int {
    var best = Int.max
    var fives = 1
    while fives < 2 * length + 2 {
      var threes = fives
      while threes < 2 * length + 2 {
        var candidate = 2 * threes
        while candidate < length { candidate *= 2 }
        best = Swift.min(best, candidate)
        threes *= 3
      }
      fives *= 5
    }
    return best
  }

  /// The spectra [rows, size / 2 + 1, 2] of rows [rows, length] followed by zeros.
  private static func spectra(_ x: Tensor, size: Int, scale: Float = 1) -> Tensor {
    realFourier(x.padded(axis: -1, after: size - x.shape[-1]), scale: scale)
  }

  /// The first `count` numbers of the circular convolution (or correlation: the second's spectrum conjugated) of
  /// `x` [batch, channels, length] with rows whose spectra are given per channel.
  private static func filtered(
    _ x: Tensor, _ spectra: Tensor, size: Int, count: Int, conjugating: Bool
  ) -> Tensor {
    let (batch, channels, length) = (x.shape[0], x.shape[1], x.shape[2])
    let bins = size / 2 + 1
    let signals = x.reshaped(batch * channels, length)
    let output = Tensor.uninitialized([batch, channels, count])
    let result = output.reshaped(batch * channels, count)
    // Some rows at a time, so that their spectra stay small.
    let part = Swift.max(64, (1 << 22) / size)
    for start in stride(from: 0, to: batch * channels, by: part) {
      let chosen = start..<Swift.min(start + part, batch * channels)
      let product = Self.spectra(signals.sliced(axis: 0, chosen), size: size)
      spectra.read { h in
        product.overwrite(as: Float.self) { z in
          rows(chosen.count, size) { range in
            for row in range {
              multiply(z + row * 2 * bins, h + (start + row) % channels * 2 * bins, bins, conjugating)
            }
          }
        }
      }
      let filtered = inverseRealFourier(product, length: size, scale: 1, innerWeight: 1)
      copyStrided(from: filtered.sliced(axis: 1, 0..<count), to: result.sliced(axis: 0, chosen))
    }
    return output
  }

  /// a = a b, or a conj(b).
  private static func multiply(
    _ a: UnsafeMutablePointer<Float>, _ b: UnsafePointer<Float>, _ bins: Int, _ conjugating: Bool
  ) {
    let sign: Float = conjugating ? -1 : 1
    for k in 0..<bins {
      let (ar, ai, br, bi) = (a[2 * k], a[2 * k + 1], b[2 * k], sign * b[2 * k + 1])
      a[2 * k] = ar * br - ai * bi
      a[2 * k + 1] = ar * bi + ai * br
    }
  }

  /// x [batch, channels, length], h [channels, taps <= length]: [batch, channels, length].
  static func causalConvolution(_ x: Tensor, _ h: Tensor) -> Tensor {
    let length = x.shape[2]
    let size = fastFourierLength(length + h.shape[1] - 1)
    return filtered(
      x, spectra(h, size: size, scale: 1 / Float(size)), size: size, count: length, conjugating: false)
  }

  static func causalConvolutionGradients(
    _ gradient: Tensor, _ x: Tensor, _ h: Tensor, _ needed: [Bool]
  ) -> (x: Tensor?, h: Tensor?) {
    let (batch, channels, length, taps) = (x.shape[0], x.shape[1], x.shape[2], h.shape[1])
    let size = fastFourierLength(length + taps - 1)
    let dx =
      needed[0]
      ? filtered(
        gradient, spectra(h, size: size, scale: 1 / Float(size)), size: size, count: length,
        conjugating: true) : nil
    guard needed[1] else { return (dx, nil) }
    // dh[s] = sum over the batch and t of dy[t] x[t - s].
    var dh: Tensor?
    for b in 0..<batch {
      let spectrum = spectra(x.selected(axis: 0, b), size: size, scale: 1 / Float(size))
      let part = filtered(
        gradient.sliced(axis: 0, b..<b + 1), spectrum, size: size, count: taps, conjugating: true
      ).reshaped(channels, taps)
      dh = dh.map { $0 + part } ?? part
    }
    return (dx, dh)
  }
}
