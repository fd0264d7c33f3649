import BraidNN
import BraidTensor
import Foundation

/// How the parameters of state-space models start.
extension Initializer {
  /// Softplus inverses of steps that are log-uniform in the range, none below the floor (Mamba's step bias).
  static func inverseSoftplus(logUniform range: ClosedRange<Double>, floor: Double = 0) -> Initializer {
    .custom { shape, generator in
      let (low, high) = (log(range.lowerBound), log(range.upperBound))
      return Tensor(
        (0..<shape.elementCount).map { _ in
          let step = max(exp(low + (high - low) * Double(generator.uniform())), floor)
          return Float(step + log(-expm1(-step)))
        }, shape: shape)
    }
  }

  /// Logarithms of numbers that are uniform in the range.
  static func logarithm(of range: ClosedRange<Float>) -> Initializer {
    .custom { shape, generator in Tensor.uniform(shape, in: range, using: &generator).log() }
  }

  /// log 1, log 2, ... log N along the last axis: A starts at -1 ... -N for every channel (S4D-real).
  static let logarithmsOfStateIndex = Initializer.custom { shape, _ in
    Tensor((0..<shape.elementCount).map { Float(log(Double($0 % shape[-1] + 1))) }, shape: shape)
  }
}
