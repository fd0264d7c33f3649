import Foundation

/// How a resized axis is made of the original one.
public enum ResizeMode: String, Sendable, Hashable, CaseIterable {
  /// The element at floor(i size / newSize), computed in float32 (torch's "nearest").
  case nearest
  /// The element at floor((i + 0.5) size / newSize) (torch's "nearest-exact").
  case nearestExact
  /// Two neighbours, weighted by their distance (torch's "bilinear", or "linear" of one axis).
  case bilinear
  /// Four neighbours under Keys' cubic with a = -0.75 (torch's "bicubic"); with antialias a = -0.5, as in Pillow.
  case bicubic
}

extension Tensor {
  /// A map [..., H, W, C] resized to [..., height, width, C].
  ///
  /// Numbers are those of torch.nn.functional.interpolate given a size:
  /// - Parameters:
  ///   - alignCorners: for bilinear and bicubic: true maps the centres of the corner pixels onto each other
  ///     (position i (size - 1) / (newSize - 1)); false maps the outer edges (position (i + 0.5) size / newSize - 0.5),
  ///     with the border repeated.
  ///   - antialias: for bilinear and bicubic: where an axis shrinks, the filter is as much wider as the axis shrinks,
  ///     cut at the border and normalised.
  public func resized(
    height: Int, width: Int, mode: ResizeMode = .bilinear, alignCorners: Bool = false, antialias: Bool = false
  ) -> Tensor {
    precondition(rank >= 3, "resized: \(shape) is no map [..., H, W, C]")
    return resampled(
      "resized",
      [
        rank - 3: .resize(shape[-3], height, mode, alignCorners: alignCorners, antialias: antialias),
        rank - 2: .resize(shape[-2], width, mode, alignCorners: alignCorners, antialias: antialias),
      ])
  }

  /// The tensor with one axis resized, by the rules of `resized(height:width:mode:alignCorners:antialias:)`.
  public func resized(
    axis: Int, to size: Int, mode: ResizeMode = .bilinear, alignCorners: Bool = false, antialias: Bool = false
  ) -> Tensor {
    let axis = shape.axis(axis, "resized")
    return resampled(
      "resized",
      [axis: .resize(shape[axis], size, mode, alignCorners: alignCorners, antialias: antialias)])
  }
}

extension ResamplingMatrix {
  /// Keys' cubic convolution kernel.
  private static func cubic(_ x: Double, _ a: Double) -> Double {
    let x = abs(x)
    if x <= 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0
  }

  static func resize(
    _ size: Int, _ newSize: Int, _ mode: ResizeMode, alignCorners: Bool, antialias: Bool
  ) -> ResamplingMatrix {
    precondition(
      size > 0 && newSize > 0, "resized: an axis of \(size) cannot become one of \(newSize)")
    let scale: Double =
      alignCorners
      ? (newSize > 1 ? Double(size - 1) / Double(newSize - 1) : 0) : Double(size) / Double(newSize)
    func position(_ i: Int) -> Double {
      alignCorners ? scale * Double(i) : scale * (Double(i) + 0.5) - 0.5
    }
    func limited(_ index: Int) -> Int { Swift.min(Swift.max(index, 0), size - 1) }
    switch mode {
    case .nearest, .nearestExact:
      precondition(!alignCorners && !antialias, "resized: \(mode.rawValue) has no corners or antialias")
      let step = Float(size) / Float(newSize)
      return ResamplingMatrix(inputs: size, outputs: newSize) { i in
        (limited(Int((Float(i) + (mode == .nearest ? 0 : 0.5)) * step)), [1])
      }
    case .bilinear where !antialias:
      return ResamplingMatrix(inputs: size, outputs: newSize) { i in
        let at = Swift.max(position(i), 0)
        let index = Swift.min(Int(at), size - 1)
        let fraction = Swift.min(at - Double(index), 1)
        return [(index, 1 - fraction), (limited(index + 1), fraction)]
      }
    case .bicubic where !antialias:
      return ResamplingMatrix(inputs: size, outputs: newSize) { i in
        let at = position(i)
        let index = Int(at.rounded(.down))
        return (-1...2).map { (limited(index + $0), cubic(at - Double(index + $0), -0.75)) }
      }
    case .bilinear, .bicubic:
      let reach = Swift.max(scale, 1)
      let support = (mode == .bilinear ? 1 : 2) * reach
      return ResamplingMatrix(inputs: size, outputs: newSize) { i in
        let centre = scale * (Double(i) + 0.5)
        let first = Swift.max(Int(centre - support + 0.5), 0)
        let end = Swift.min(Int(centre + support + 0.5), size)
        let taps = (first..<end).map { index -> (index: Int, weight: Double) in
          let x = (Double(index) - centre + 0.5) / reach
          return (index, mode == .bilinear ? Swift.max(0, 1 - abs(x)) : cubic(x, -0.5))
        }
        let total = taps.reduce(0) { $0 + $1.weight }
        return taps.map { ($0.index, $0.weight / total) }
      }
    }
  }
}
