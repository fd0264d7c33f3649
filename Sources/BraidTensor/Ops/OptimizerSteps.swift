import CBraidKernels

/// One AdamW step, in place, of one parameter with its gradient and moments (all float32, of one shape):
/// g' = gradientScale g; m = beta1 m + (1 - beta1) g'; v = beta2 v + (1 - beta2) g'^2;
/// p = p (1 - rate decay) - rate (m / correction1) / (sqrt(v / correction2) + epsilon).
public func optimizerStep(
  _ parameter: Tensor, _ gradient: Tensor, _ first: Tensor, _ second: Tensor, rate: Float, beta1: Float,
  beta2: Float, epsilon: Float, decay: Float, correction1: Float, correction2: Float, gradientScale: Float
) {
  precondition(
    parameter.shape == gradient.shape && first.shape == parameter.shape && second.shape == parameter.shape,
    "optimizerStep: \(parameter.shape) with a gradient of \(gradient.shape)")
  let math = CPU.kernels.pointee.math
  gradient.read { g in
    parameter.overwrite(as: Float.self) { p in
      first.overwrite(as: Float.self) { m in
        second.overwrite(as: Float.self) { v in
          parallelRanges(parameter.elementCount, minimum: 16_384) { range in
            let i = range.lowerBound
            math.adamw(
              p + i, g + i, m + i, v + i, range.count, rate, beta1, beta2, epsilon, decay, correction1,
              correction2, gradientScale)
          }
        }
      }
    }
  }
}

extension Tensor {
  /// Moves the elements, in place, by `weight` of the way towards those of `target`.
  public func interpolateInPlace(towards target: Tensor, weight: Float) {
    precondition(shape == target.shape, "interpolateInPlace: \(shape) towards \(target.shape)")
    let math = CPU.kernels.pointee.math
    target.read { x in
      overwrite(as: Float.self) { y in
        parallelRanges(elementCount, minimum: 16_384) { range in
          math.lerp(weight, x + range.lowerBound, y + range.lowerBound, range.count)
        }
      }
    }
  }

  /// The sum of the squares of the elements, in double precision.
  public var sumOfSquares: Double { read { CPU.kernels.pointee.math.sum_squares($0, elementCount) } }

  /// Whether every element is finite.
  public var isFinite: Bool { sumOfSquares.isFinite }
}
