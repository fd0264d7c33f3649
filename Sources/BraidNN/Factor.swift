import BraidTensor

/// The right side of a linear product: a tensor [N, K], which may be trained, or a constant matrix in few bits.
public enum Factor: Sendable {
  case tensor(Tensor)
  case matrix(QuantizedMatrix)

  /// N, the size of the product's last axis.
  public var rows: Int {
    switch self {
    case .tensor(let tensor): tensor.shape[0]
    case .matrix(let matrix): matrix.rows
    }
  }

  /// Some of the N rows, over the same memory.
  public func rows(_ range: Range<Int>) -> Factor {
    switch self {
    case .tensor(let tensor): .tensor(tensor.sliced(axis: 0, range))
    case .matrix(let matrix): .matrix(matrix.rows(range))
    }
  }

  /// The rows that `ids` names: [ids..., K].
  public func rows(_ ids: Tensor) -> Tensor {
    switch self {
    case .tensor(let tensor): Tensor.embedding(tensor, ids)
    case .matrix(let matrix): matrix.rows(ids)
    }
  }
}

/// activation(x Wᵀ + b) over the last axis, plus a residual: x [..., K], weight [N, K], bias [N]; [..., N].
public func linear(
  _ x: Tensor, _ weight: Factor, bias: Tensor? = nil, activation: Activation = .none, residual: Tensor? = nil
) -> Tensor {
  switch weight {
  case .tensor(let tensor): linear(x, tensor, bias: bias, activation: activation, residual: residual)
  case .matrix(let matrix): linear(x, matrix, bias: bias, activation: activation, residual: residual)
  }
}

/// activation(x Wᵀ + b) over the last axis, plus a residual, with the values of parameters.
public func linear(
  _ x: Tensor, _ weight: Parameter, bias: Parameter? = nil, activation: Activation = .none,
  residual: Tensor? = nil
) -> Tensor {
  linear(x, weight.factor, bias: bias?.value, activation: activation, residual: residual)
}

/// activation(gateScale (x Gᵀ + gate bias)) * (x Uᵀ + up bias): x [..., K], gate and up [N, K]; [..., N].
public func gatedLinear(
  _ x: Tensor, gate: Factor, up: Factor, gateBias: Tensor? = nil, upBias: Tensor? = nil, gateScale: Float = 1,
  activation: Activation = .silu
) -> Tensor {
  if case .matrix(let g) = gate, case .matrix(let u) = up {
    return gatedLinear(
      x, gate: g, up: u, gateBias: gateBias, upBias: upBias, gateScale: gateScale, activation: activation)
  }
  let gated =
    gateScale == 1
    ? linear(x, gate, bias: gateBias, activation: activation)
    : (linear(x, gate, bias: gateBias) * gateScale).applying(activation)
  return gated * linear(x, up, bias: upBias)
}
