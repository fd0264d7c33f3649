import CBraidKernels

/// activation(x Wᵀ + b) over the last axis, plus a residual; W as it is held, nothing derived from it is kept.
///
/// Gradients flow into x, bias and residual; the matrix is constant. A few rows of x read W once at the speed of the
/// memory: f32 and bf16 with x in float32, int8 and q4_0 with x rounded to 16 bits in groups of 128 (3e-5 of x). More
/// rows multiply W's exact values in float32, but for bf16 on machines that multiply bfloat16: there x is rounded too.
///
/// - Parameters:
///   - x: [..., K].
///   - weight: [N, K].
///   - bias: [N], or nil.
///   - residual: added at the end, of the output's shape, or nil.
/// - Returns: [..., N].
public func linear(
  _ x: Tensor, _ weight: QuantizedMatrix, bias: Tensor? = nil, activation: Activation = .none,
  residual: Tensor? = nil
) -> Tensor {
  let (n, k) = (weight.rows, weight.columns)
  precondition(
    x.rank >= 1 && x.shape[-1] == k && bias.map { $0.shape == [n] } ?? true,
    "linear: x \(x.shape), weight [\(n), \(k)], bias \(String(describing: bias?.shape))")
  let m = x.elementCount / Swift.max(k, 1)
  let shape = Shape(x.shape.dimensions.dropLast() + [n])
  precondition(residual.map { $0.shape == shape } ?? true, "linear: residual \(residual!.shape) for \(shape)")
  let inputs = [x] + [bias, residual].compactMap { $0 }
  let records = Autograd.isRecording && inputs.contains { $0.requiresGradient }
  // The gradient of an activation needs its argument, so recording computes the two apart.
  let isApart = records && activation != .none
  let pre = Tensor.build(shape) { out in
    x.read { px in
      CPU.reading(bias) { bias in
        CPU.reading(isApart ? nil : residual) { residual in
          CPU.product(
            m: m, x: px, weight, c: out,
            epilogue: GEMMEpilogue(
              bias: bias, activation: isApart ? .none : activation, residual: residual, residualRowStride: n))
        }
      }
    }
  }
  guard records else {
    OperationClock.tick("linear")
    return pre
  }
  let activated = pre.activated(by: activation)
  let output = isApart && residual != nil ? activated + residual!.detached : activated
  let hasBias = bias != nil
  let xShape = x.shape
  return Tensor.record("linear", output, inputs: inputs) { gradient, needed in
    let dy = pre.activationGradient(gradient, output: activated, activation).contiguous()
    var results: [Tensor?] = [needed[0] ? weight.productGradient(dy, xShape) : nil]
    if hasBias { results.append(needed[1] ? dy.reshaped(m, n).sum(axes: [0]) : nil) }
    if needed.count > results.count { results.append(gradient) }
    return results
  }
}

/// activation(gateScale (x Gᵀ) + gate bias) * (x Uᵀ + up bias): the two products of a gated feed-forward layer, one
/// pass over both matrices where x has a few rows. With a bias, gateScale multiplies it too.
///
/// - Parameters:
///   - x: [..., K]; gate, up: [N, K]; gateBias, upBias: [N], or nil.
/// - Returns: [..., N].
public func gatedLinear(
  _ x: Tensor, gate: QuantizedMatrix, up: QuantizedMatrix, gateBias: Tensor? = nil, upBias: Tensor? = nil,
  gateScale: Float = 1, activation: Activation = .silu
) -> Tensor {
  let (n, k) = (gate.rows, gate.columns)
  precondition(
    x.rank >= 1 && x.shape[-1] == k && up.rows == n && up.columns == k
      && [gateBias, upBias].allSatisfy { $0.map { $0.shape == [n] } ?? true },
    "gatedLinear: x \(x.shape), gate [\(n), \(k)], up [\(up.rows), \(up.columns)]")
  let m = x.elementCount / Swift.max(k, 1)
  let records = Autograd.isRecording && [x, gateBias, upBias].contains { $0?.requiresGradient ?? false }
  guard !records && m <= CPU.longestStreamedProduct else {
    var gated =
      gateScale == 1
      ? linear(x, gate, bias: gateBias, activation: activation)
      : linear(x, gate, bias: gateBias) * gateScale
    if gateScale != 1 { gated = gated.applying(activation) }
    return gated * linear(x, up, bias: upBias)
  }
  let output = Tensor.build(Shape(x.shape.dimensions.dropLast() + [n])) { out in
    x.read { px in
      CPU.reading(gateBias) { gateBias in
        CPU.reading(upBias) { upBias in
          CPU.gatedProduct(
            m: m, x: px, gate: gate, up: up, c: out, gateBias: gateBias, upBias: upBias,
            gateScale: gateScale, activation: activation)
        }
      }
    }
  }
  OperationClock.tick("gatedLinear")
  return output
}

extension QuantizedMatrix {
  /// dy [..., rows] W, of the given shape [..., columns].
  fileprivate func productGradient(_ dy: Tensor, _ shape: Shape) -> Tensor {
    let result = Tensor.zeros(shape)
    dy.read { d in
      result.overwrite(as: Float.self) { out in
        CPU.accumulateProduct(m: dy.elementCount / Swift.max(rows, 1), d: d, self, c: out)
      }
    }
    return result
  }
}

extension Tensor {
  /// An activation as an operation of its own, recorded.
  public func applying(_ activation: Activation) -> Tensor {
    let argument = detached.cast(to: .float32)
    let output = argument.activated(by: activation)
    return Tensor.record("activation", output, inputs: [self]) { gradient, _ in
      [argument.activationGradient(gradient, output: output, activation)]
    }
  }
}
