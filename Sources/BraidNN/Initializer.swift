import BraidTensor
import Foundation

/// How a parameter starts when nothing is loaded.
public enum Initializer: Sendable {
  case zeros
  case ones
  case constant(Float)
  /// Normal, cut at two standard deviations.
  case truncatedNormal(Float)
  case normal(Float)
  case uniform(ClosedRange<Float>)
  /// Uniform in ±1/sqrt(fan-in): PyTorch's default of linear and convolution layers.
  case fanIn(Int)
  /// Elements computed from the shape and a generator.
  case custom(@Sendable (Shape, inout Philox) -> Tensor)

  func make(_ shape: Shape, _ generator: inout Philox) -> Tensor {
    switch self {
    case .zeros: return .zeros(shape)
    case .ones: return .ones(shape)
    case .constant(let value): return .full(shape, value)
    case .normal(let deviation): return .normal(shape, standardDeviation: deviation, using: &generator)
    case .uniform(let range): return .uniform(shape, in: range, using: &generator)
    case .fanIn(let count):
      let bound = 1 / Float(max(count, 1)).squareRoot()
      return .uniform(shape, in: -bound...bound, using: &generator)
    case .truncatedNormal(let deviation):
      var elements = [Float](repeating: 0, count: shape.elementCount)
      for i in elements.indices {
        repeat {
          let radius = (-2 * log(1 - Double(generator.uniform()))).squareRoot()
          elements[i] = Float(radius * cos(2 * .pi * Double(generator.uniform())))
        } while abs(elements[i]) > 2
        elements[i] *= deviation
      }
      return Tensor(elements, shape: shape)
    case .custom(let make): return make(shape, &generator)
    }
  }
}
