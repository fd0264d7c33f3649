import CBraidKernels

/// activation(x Wᵀ + b) over the last axis, plus a residual.
///
/// - Parameters:
///   - x: [..., K].
///   - weight: [N, K].
///   - bias: [N], or nil.
///   - residual: added at the end, of the output's shape, or nil.
/// - Returns: [..., N].
public func linear(
  _ x: Tensor, _ weight: Tensor, bias: Tensor? = nil, activation: Activation = .none, residual: Tensor? = nil
) -> Tensor {
  precondition(
    weight.rank == 2 && x.rank >= 1 && x.shape[-1] == weight.shape[1]
      && bias.map { $0.shape == [weight.shape[0]] } ?? true,
    "linear: x \(x.shape), weight \(weight.shape), bias \(String(describing: bias?.shape))")
  let (n, k) = (weight.shape[0], weight.shape[1])
  let m = x.elementCount / Swift.max(k, 1)
  let shape = Shape(x.shape.dimensions.dropLast() + [n])
  precondition(residual.map { $0.shape == shape } ?? true, "linear: residual \(residual!.shape) for \(shape)")
  let inputs = [x, weight] + [bias, residual].compactMap { $0 }
  let records = Autograd.isRecording && inputs.contains { $0.requiresGradient }
  // The gradient of an activation needs its argument, so training computes the two apart.
  let fused = records ? Activation.none : activation

  let xs = x.detached.cast(to: .float32).contiguous()
  let ws = weight.detached
  let argument = Tensor.build(shape) { out in
    xs.read { px in
      func run(_ bias: UnsafePointer<Float>?, _ residual: UnsafePointer<Float>?) {
        var epilogue = GEMMEpilogue()
        epilogue.bias = bias
        epilogue.activation = fused
        epilogue.residual = residual
        epilogue.residualRowStride = n
        let a = StridedMatrix(pointer: px, rowStride: k)
        if let matrix = ws.streamed(rows: m), !records || ws.dtype == .float32 {
          CPU.product(m: m, x: px, matrix, c: out, epilogue: epilogue)
        } else if ws.dtype == .bfloat16 && !records {
          CPU.gemm(m: m, a: a, b: ws.packedTransposed16(), c: out, cRowStride: n, epilogue: epilogue)
        } else {
          CPU.gemm(m: m, a: a, b: ws.packedTransposed(), c: out, cRowStride: n, epilogue: epilogue)
        }
      }
      withOptional(bias) { bias in
        withOptional(records && activation != .none ? nil : residual) { run(bias, $0) }
      }
    }
  }
  if !records {
    OperationClock.tick("linear")
    return argument
  }
  let hasBias = bias != nil
  let pre = argument
  let activated = pre.activated(by: activation)
  let output = activation != .none && residual != nil ? activated + residual!.detached : activated
  return Tensor.record("linear", output, inputs: inputs) { gradient, needed in
    let through = pre.activationGradient(gradient, output: activated, activation)
    let dy = through.contiguous()
    var results: [Tensor?] = []
    results.append(needed[0] ? CPU.product(dy.reshaped(m, n), ws.cast(to: .float32)).reshaped(xs.shape) : nil)
    results.append(needed[1] ? CPU.product(dy.reshaped(m, n).transposed(), xs.reshaped(m, k)) : nil)
    if hasBias { results.append(needed[2] ? dy.reshaped(m, n).sum(axes: [0]) : nil) }
    if needed.count > results.count { results.append(gradient) }
    return results
  }
}

private func withOptional<Result>(_ tensor: Tensor?, _ body: (UnsafePointer<Float>?) -> Result) -> Result {
  guard let tensor else { return body(nil) }
  return tensor.read { body($0) }
}

extension Tensor {
  /// This weight [N, K] as it lies, where reading it so beats packing it for a product of `rows` rows; nil elsewhere.
  func streamed(rows: Int) -> QuantizedMatrix? {
    // A packed copy of a constant is made once, one of a weight that changes at each call.
    guard rows <= (storage.isConstant ? 4 : CPU.longestStreamedProduct), isContiguous else { return nil }
    return WeightFormat(dtype).map { QuantizedMatrix(self, as: $0) }
  }

  /// A weight [N, K] packed as the right factor [K, N]; kept where the storage is constant.
  func packedTransposed() -> PackedMatrix {
    storage.derived("gemm.transposed \(dtype) \(shape)\(strides)@\(offset)") {
      withStridedFloats { source, rowStride, columnStride in
        PackedMatrix(
          rows: shape[1], columns: shape[0], source: source, rowStride: columnStride, columnStride: rowStride)
      }
    }
  }

  /// As `packedTransposed`, in bfloat16.
  func packedTransposed16() -> PackedMatrix16 {
    storage.derived("gemm.transposed16 \(dtype) \(shape)\(strides)@\(offset)") {
      withStridedFloats { source, rowStride, columnStride in
        PackedMatrix16(
          rows: shape[1], columns: shape[0], source: source, rowStride: columnStride, columnStride: rowStride)
      }
    }
  }

  /// Calls `body` with a matrix's float32 elements and the strides of its two axes.
  private func withStridedFloats<Result>(_ body: (UnsafePointer<Float>, Int, Int) -> Result) -> Result {
    let source = detached.cast(to: .float32)
    return withExtendedLifetime(source.storage) {
      body(
        UnsafePointer(source.storage.pointer.assumingMemoryBound(to: Float.self)) + source.offset,
        source.strides[0], source.strides[1])
    }
  }

  /// The activation as an operation of its own.
  func activated(by activation: Activation) -> Tensor {
    activation.unary.map { CPU.unary($0.operation, self, $0.parameter) } ?? self
  }

  /// The gradient before an activation (this tensor is its argument) from the one behind it.
  func activationGradient(_ gradient: Tensor, output: Tensor, _ activation: Activation) -> Tensor {
    activation.unary.map { CPU.unaryGradient($0.operation, self, output, gradient, $0.parameter) } ?? gradient
  }
}

extension Activation {
  var unary: (operation: braid_unary_op, parameter: Float)? {
    switch self {
    case .none: nil
    case .relu: (BRAID_UNARY_RELU, 0)
    case .leakyReLU(let slope): (BRAID_UNARY_LEAKY_RELU, slope)
    case .gelu: (BRAID_UNARY_GELU_ERF, 0)
    case .geluTanh: (BRAID_UNARY_GELU_TANH, 0)
    case .silu: (BRAID_UNARY_SILU, 0)
    case .sigmoid: (BRAID_UNARY_SIGMOID, 0)
    case .tanh: (BRAID_UNARY_TANH, 0)
    }
  }
}

extension CPU {
  /// The product of two matrices, each a strided view.
  static func product(_ a: Tensor, _ b: Tensor) -> Tensor {
    let (m, k, n) = (a.shape[0], a.shape[1], b.shape[1])
    return Tensor.build([m, n]) { out in
      withExtendedLifetime((a.storage, b.storage)) {
        func matrix(_ x: Tensor) -> StridedMatrix {
          StridedMatrix(
            pointer: UnsafePointer(x.storage.pointer.assumingMemoryBound(to: Float.self)) + x.offset,
            rowStride: x.strides[0], columnStride: x.strides[1])
        }
        gemm(m: m, n: n, k: k, a: matrix(a), b: matrix(b), c: out, cRowStride: n)
      }
    }
  }
}
