/// How a map is read between its pixels.
public enum SamplingMode: String, Sendable, Hashable, CaseIterable {
  /// Four neighbours weighted by distance.
  case bilinear
  /// The nearest pixel (halves to even).
  case nearest
  /// Sixteen neighbours under Keys' cubic with a = -0.75.
  case bicubic
}

/// What is read beyond the border of a sampled map.
public enum SamplingPadding: String, Sendable, Hashable, CaseIterable {
  case zeros
  /// The nearest border pixel.
  case border
  /// The map mirrored at its border: at the centres of the border pixels with `alignCorners`, at their outer edges
  /// without.
  case reflection
}

extension Tensor {
  /// A map [B, H, W, C] read at the points of `grid` [B, H', W', 2]: [B, H', W', C].
  ///
  /// A point is (x, y); -1 and 1 are the first and last pixel's centres along an axis with `alignCorners`, their outer
  /// edges without. As torch.nn.functional.grid_sample, gradients of map and grid included.
  public func gridSampled(
    _ grid: Tensor, mode: SamplingMode = .bilinear, padding: SamplingPadding = .zeros,
    alignCorners: Bool = false
  ) -> Tensor {
    precondition(
      rank == 4 && grid.rank == 4 && grid.shape[0] == shape[0] && grid.shape[3] == 2,
      "gridSampled: a grid of \(grid.shape) for a map of \(shape)")
    precondition(shape[1] > 0 && shape[2] > 0, "gridSampled: nothing to read in \(shape)")
    let rule = SamplingRule(
      height: shape[1], width: shape[2], mode: mode, padding: padding, alignCorners: alignCorners)
    let (x, points) = (detached.cast(to: .float32), grid.detached.cast(to: .float32))
    let output = CPU.gridSample(x, points, rule)
    return Tensor.record("gridSampled", output.cast(to: dtype), inputs: [self, grid]) { gradient, needed in
      [
        needed[0] ? CPU.gridSampleInputGradient(gradient, points, rule, x.shape) : nil,
        needed[1] ? CPU.gridSampleGridGradient(gradient, x, points, rule) : nil,
      ]
    }
  }
}

/// The pixels that a point of the grid is made of.
struct SamplingRule {
  let height, width: Int
  let mode: SamplingMode
  let padding: SamplingPadding
  let alignCorners: Bool

  /// One pixel's part in a point: its index (-1: outside, zero), its weight, and the weight's derivatives by the
  /// grid's x and y.
  struct Tap {
    var index = -1
    var weight: Float = 0
    var byX: Float = 0
    var byY: Float = 0
  }

  var tapCount: Int {
    switch mode {
    case .nearest: 1
    case .bilinear: 4
    case .bicubic: 16
    }
  }

  /// A position along an axis in pixels, and its derivative by the grid's coordinate.
  @inline(__always)
  private func pixels(_ coordinate: Float, _ size: Int) -> (position: Float, slope: Float) {
    alignCorners
      ? ((coordinate + 1) / 2 * Float(size - 1), Float(size - 1) / 2)
      : (((coordinate + 1) * Float(size) - 1) / 2, Float(size) / 2)
  }

  /// The position after padding, and its derivative by the one before.
  @inline(__always)
  private func padded(_ position: Float, _ size: Int) -> (position: Float, slope: Float) {
    var (x, slope) = (position, Float(1))
    if padding == .zeros { return (isReasonable(x) ? x : -100, 1) }
    if padding == .reflection {
      let (low, high) = alignCorners ? (0, 2 * (size - 1)) : (-1, 2 * size - 1)
      if low == high { return (0, 0) }
      let minimum = Float(low) / 2
      let span = Float(high - low) / 2
      x -= minimum
      if x < 0 {
        x = -x
        slope = -1
      }
      let extra = x.truncatingRemainder(dividingBy: span)
      if (x / span).rounded(.down).truncatingRemainder(dividingBy: 2) == 0 {
        x = extra + minimum
      } else {
        x = span - extra + minimum
        slope = -slope
      }
    }
    if x <= 0 { return (0, 0) }
    if x >= Float(size - 1) { return (Float(size - 1), 0) }
    return isReasonable(x) ? (x, slope) : (-100, slope)
  }

  /// False for NaN and for what does not fit an index.
  @inline(__always) private func isReasonable(_ x: Float) -> Bool { x > -1e9 && x < 1e9 }

  @inline(__always) private func index(_ row: Int, _ column: Int) -> Int {
    row >= 0 && row < height && column >= 0 && column < width ? row * width + column : -1
  }

  /// The four weights of Keys' cubic at a fraction, and their derivatives.
  @inline(__always)
  private func cubic(_ t: Float) -> (weights: SIMD4<Float>, slopes: SIMD4<Float>) {
    let a: Float = -0.75
    func near(_ x: Float) -> Float { ((a + 2) * x - (a + 3)) * x * x + 1 }
    func far(_ x: Float) -> Float { ((a * x - 5 * a) * x + 8 * a) * x - 4 * a }
    func nearSlope(_ x: Float) -> Float { (3 * (a + 2) * x - 2 * (a + 3)) * x }
    func farSlope(_ x: Float) -> Float { (3 * a * x - 10 * a) * x + 8 * a }
    return (
      SIMD4(far(t + 1), near(t), near(1 - t), far(2 - t)),
      SIMD4(farSlope(t + 1), nearSlope(t), -nearSlope(1 - t), -farSlope(2 - t))
    )
  }

  /// Writes the taps of the point (x, y).
  @inline(__always)
  func fill(_ taps: UnsafeMutablePointer<Tap>, _ x: Float, _ y: Float) {
    let (px, slopeX) = pixels(x, width)
    let (py, slopeY) = pixels(y, height)
    switch mode {
    case .nearest:
      let column = padded(px, width).position.rounded(.toNearestOrEven)
      let row = padded(py, height).position.rounded(.toNearestOrEven)
      taps[0] = Tap(index: index(Int(row), Int(column)), weight: 1)
    case .bilinear:
      let (sx, factorX) = padded(px, width)
      let (sy, factorY) = padded(py, height)
      let (column, row) = (Int(sx.rounded(.down)), Int(sy.rounded(.down)))
      let (fx, fy) = (sx - Float(column), sy - Float(row))
      let (gx, gy) = (slopeX * factorX, slopeY * factorY)
      taps[0] = Tap(
        index: index(row, column), weight: (1 - fx) * (1 - fy), byX: -(1 - fy) * gx, byY: -(1 - fx) * gy)
      taps[1] = Tap(
        index: index(row, column + 1), weight: fx * (1 - fy), byX: (1 - fy) * gx, byY: -fx * gy)
      taps[2] = Tap(
        index: index(row + 1, column), weight: (1 - fx) * fy, byX: -fy * gx, byY: (1 - fx) * gy)
      taps[3] = Tap(index: index(row + 1, column + 1), weight: fx * fy, byX: fy * gx, byY: fx * gy)
    case .bicubic:
      let (sx, sy) = (isReasonable(px) ? px : -100, isReasonable(py) ? py : -100)
      let (left, top) = (sx.rounded(.down), sy.rounded(.down))
      let (wx, dx) = cubic(sx - left)
      let (wy, dy) = cubic(sy - top)
      for i in 0..<4 {
        let row = padded(top + Float(i - 1), height).position
        for j in 0..<4 {
          let column = padded(left + Float(j - 1), width).position
          taps[4 * i + j] = Tap(
            index: index(Int(row), Int(column)), weight: wx[j] * wy[i], byX: dx[j] * wy[i] * slopeX,
            byY: wx[j] * dy[i] * slopeY)
        }
      }
    }
  }
}
