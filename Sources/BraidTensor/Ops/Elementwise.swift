import CBraidKernels

// Elementwise operations. Two operands broadcast as in NumPy; float16 and bfloat16 are computed in float32 and
// rounded to the first operand's type.

extension Tensor {
  private func unary(
    _ name: StaticString, _ operation: braid_unary_op, _ p0: Float = 0, _ p1: Float = 0
  ) -> Tensor {
    precondition(dtype.isFloatingPoint, "\(name): \(dtype.rawValue) is not a floating-point type")
    let x = detached
    let y = CPU.unary(operation, x, p0, p1)
    return Tensor.record(name, y.cast(to: dtype), inputs: [self]) { gradient, _ in
      [CPU.unaryGradient(operation, x, y, gradient, p0, p1)]
    }
  }

  public func exp() -> Tensor { unary("exp", BRAID_UNARY_EXP) }
  /// The natural logarithm.
  public func log() -> Tensor { unary("log", BRAID_UNARY_LOG) }
  public func squareRoot() -> Tensor { unary("squareRoot", BRAID_UNARY_SQRT) }
  /// 1 / sqrt(x)
  public func reciprocalSquareRoot() -> Tensor { unary("reciprocalSquareRoot", BRAID_UNARY_RSQRT) }
  public func reciprocal() -> Tensor { unary("reciprocal", BRAID_UNARY_RECIPROCAL) }
  public func absolute() -> Tensor { unary("absolute", BRAID_UNARY_ABS) }
  public func squared() -> Tensor { unary("squared", BRAID_UNARY_SQUARE) }
  public func sine() -> Tensor { unary("sine", BRAID_UNARY_SIN) }
  public func cosine() -> Tensor { unary("cosine", BRAID_UNARY_COS) }
  public func tanh() -> Tensor { unary("tanh", BRAID_UNARY_TANH) }
  /// 1 / (1 + exp(-x))
  public func sigmoid() -> Tensor { unary("sigmoid", BRAID_UNARY_SIGMOID) }
  /// x sigmoid(x)
  public func silu() -> Tensor { unary("silu", BRAID_UNARY_SILU) }
  /// x Phi(x), by the error function.
  public func gelu() -> Tensor { unary("gelu", BRAID_UNARY_GELU_ERF) }
  /// x Phi(x), by the tanh approximation.
  public func geluTanh() -> Tensor { unary("geluTanh", BRAID_UNARY_GELU_TANH) }
  /// log(1 + exp(x))
  public func softplus() -> Tensor { unary("softplus", BRAID_UNARY_SOFTPLUS) }
  /// max(x, 0)
  public func relu() -> Tensor { unary("relu", BRAID_UNARY_RELU) }
  /// x where x > 0, slope x elsewhere.
  public func leakyRelu(slope: Float = 0.01) -> Tensor { unary("leakyRelu", BRAID_UNARY_LEAKY_RELU, slope) }
  /// x where x > 0, exp(x) - 1 elsewhere.
  public func elu() -> Tensor { unary("elu", BRAID_UNARY_ELU, 1) }
  /// The error function.
  public func errorFunction() -> Tensor { unary("errorFunction", BRAID_UNARY_ERF) }
  /// -1, 0 or 1.
  public func sign() -> Tensor { unary("sign", BRAID_UNARY_SIGN) }
  /// scale x + shift
  public func affine(scale: Float, shift: Float = 0) -> Tensor {
    unary("affine", BRAID_UNARY_AFFINE, scale, shift)
  }
  /// Limited to [low, high]; the gradient is zero outside.
  public func clamped(_ low: Float, _ high: Float) -> Tensor {
    unary("clamped", BRAID_UNARY_CLAMP, low, high)
  }
  /// x to a constant power.
  public func power(_ exponent: Float) -> Tensor { unary("power", BRAID_UNARY_POW, exponent) }
  /// log(1 + x)
  public func log1p() -> Tensor { unary("log1p", BRAID_UNARY_LOG1P) }
  /// exp(x) - 1
  public func expm1() -> Tensor { unary("expm1", BRAID_UNARY_EXPM1) }

  /// x where x > 0, slope x elsewhere, with a learnt slope that broadcasts against x.
  public func prelu(_ slope: Tensor) -> Tensor { relu() - slope * (-self).relu() }

  public static prefix func - (x: Tensor) -> Tensor { x.unary("negate", BRAID_UNARY_NEG) }

  private static func binary(
    _ name: StaticString, _ operation: braid_binary_op, _ a: Tensor, _ b: Tensor,
    _ backward:
      @escaping (_ a: Tensor, _ b: Tensor, _ y: Tensor, _ gradient: Tensor, _ needed: [Bool]) -> [Tensor?]
  ) -> Tensor {
    guard let shape = Shape.broadcast(a.shape, b.shape) else {
      preconditionFailure("\(name): \(a.shape) and \(b.shape) do not broadcast")
    }
    let (x, z) = (a.detached, b.detached)
    let y = CPU.binary(operation, x, z, shape)
    return record(
      name, y.cast(to: a.dtype.isFloatingPoint ? a.dtype : b.dtype.isFloatingPoint ? b.dtype : .float32),
      inputs: [a, b]
    ) { gradient, needed in
      zip(backward(x, z, y, gradient, needed), [x.shape, z.shape]).map { $0?.summed(to: $1) }
    }
  }

  public static func + (a: Tensor, b: Tensor) -> Tensor {
    binary("+", BRAID_BINARY_ADD, a, b) { _, _, _, g, _ in [g, g] }
  }
  public static func - (a: Tensor, b: Tensor) -> Tensor {
    binary("-", BRAID_BINARY_SUB, a, b) { _, _, _, g, needed in [g, needed[1] ? -g : nil] }
  }
  public static func * (a: Tensor, b: Tensor) -> Tensor {
    binary("*", BRAID_BINARY_MUL, a, b) { a, b, _, g, needed in
      [needed[0] ? g * b : nil, needed[1] ? g * a : nil]
    }
  }
  public static func / (a: Tensor, b: Tensor) -> Tensor {
    binary("/", BRAID_BINARY_DIV, a, b) { _, b, y, g, needed in
      let quotient = g / b
      return [needed[0] ? quotient : nil, needed[1] ? -(quotient * y) : nil]
    }
  }
  /// The larger of two, elementwise; where they are equal the gradient goes to the first.
  public static func maximum(_ a: Tensor, _ b: Tensor) -> Tensor {
    binary("maximum", BRAID_BINARY_MAX, a, b) { a, b, _, g, _ in
      let first = a.greaterOrEqual(b)
      return [g * first, g * first.affine(scale: -1, shift: 1)]
    }
  }
  /// The smaller of two, elementwise; where they are equal the gradient goes to the first.
  public static func minimum(_ a: Tensor, _ b: Tensor) -> Tensor {
    binary("minimum", BRAID_BINARY_MIN, a, b) { a, b, _, g, _ in
      let first = b.greaterOrEqual(a)
      return [g * first, g * first.affine(scale: -1, shift: 1)]
    }
  }
  /// a to the power b, elementwise, for a > 0 where the gradient of b is wanted.
  public static func power(_ a: Tensor, _ b: Tensor) -> Tensor {
    binary("power", BRAID_BINARY_POW, a, b) { a, b, y, g, needed in
      [needed[0] ? g * b * power(a, b.affine(scale: 1, shift: -1)) : nil, needed[1] ? g * y * a.log() : nil]
    }
  }

  /// 1 where this is greater, 0 elsewhere.
  public func greater(_ other: Tensor) -> Tensor {
    Tensor.binary("greater", BRAID_BINARY_GREATER, detached, other.detached) { _, _, _, _, _ in [nil, nil] }
  }
  /// 1 where this is greater or equal, 0 elsewhere.
  public func greaterOrEqual(_ other: Tensor) -> Tensor {
    Tensor.binary("greaterOrEqual", BRAID_BINARY_GREATER_EQUAL, detached, other.detached) { _, _, _, _, _ in
      [nil, nil]
    }
  }
  /// 1 where both are equal, 0 elsewhere.
  public func equal(_ other: Tensor) -> Tensor {
    Tensor.binary("equal", BRAID_BINARY_EQUAL, detached, other.detached) { _, _, _, _, _ in [nil, nil] }
  }
  /// `a` where the mask is not 0, `b` elsewhere; all three broadcast, the gradient goes where the value came from.
  public static func select(_ mask: Tensor, _ a: Tensor, _ b: Tensor) -> Tensor {
    guard let ab = Shape.broadcast(a.shape, b.shape), let shape = Shape.broadcast(ab, mask.shape) else {
      preconditionFailure("select: \(mask.shape), \(a.shape) and \(b.shape) do not broadcast")
    }
    let chosen = mask.detached.broadcast(to: shape)
    let (x, z) = (a.detached.broadcast(to: shape), b.detached.broadcast(to: shape))
    let y = chosen.read { pm in
      x.read { pa in
        z.read { pb in
          build(shape) { out in
            parallelRanges(shape.elementCount, minimum: 32_768) { range in
              let i = range.lowerBound
              CPU.kernels.pointee.math.select(pm + i, pa + i, pb + i, out + i, range.count)
            }
          }
        }
      }
    }
    let (shapeA, shapeB) = (a.shape, b.shape)
    return record("select", y, inputs: [a, b]) { gradient, needed in
      let zero = Tensor(0)
      return [
        needed[0] ? select(chosen, gradient, zero).summed(to: shapeA) : nil,
        needed[1] ? select(chosen, zero, gradient).summed(to: shapeB) : nil,
      ]
    }
  }

  public static func + (a: Tensor, b: Float) -> Tensor { a.affine(scale: 1, shift: b) }
  public static func + (a: Float, b: Tensor) -> Tensor { b.affine(scale: 1, shift: a) }
  public static func - (a: Tensor, b: Float) -> Tensor { a.affine(scale: 1, shift: -b) }
  public static func - (a: Float, b: Tensor) -> Tensor { b.affine(scale: -1, shift: a) }
  public static func * (a: Tensor, b: Float) -> Tensor { a.affine(scale: b) }
  public static func * (a: Float, b: Tensor) -> Tensor { b.affine(scale: a) }
  public static func / (a: Tensor, b: Float) -> Tensor { a.affine(scale: 1 / b) }
  public static func / (a: Float, b: Tensor) -> Tensor { b.reciprocal() * a }
  public static func += (a: inout Tensor, b: Tensor) { a = a + b }
  public static func *= (a: inout Tensor, b: Tensor) { a = a * b }

  /// self + features weights, in one pass, for maps [B, ..., C] and weights [B, 1, ..., 1, C].
  public func addingScaled(_ features: Tensor, by weights: Tensor) -> Tensor {
    let (batch, channels) = (shape[0], shape[-1])
    precondition(
      features.shape == shape && weights.elementCount == batch * channels && weights.rank == rank,
      "addingScaled: \(shape) + \(features.shape) by \(weights.shape)")
    if Autograd.isRecording, [self, features, weights].contains(where: { $0.requiresGradient }) {
      return self + features * weights
    }
    let rows = elementCount / Swift.max(1, batch * channels)
    defer { OperationClock.tick("addingScaled") }
    let math = CPU.kernels.pointee.math
    return read { x in
      features.read { f in
        weights.read { w in
          Tensor.build(shape) { y in
            parallelRanges(batch * rows, minimum: Swift.max(1, 16_384 / channels)) { range in
              for row in range {
                let at = row * channels
                math.multiply_add(f + at, w + row / rows * channels, x + at, y + at, channels)
              }
            }
          }
        }
      }
    }
  }
}
