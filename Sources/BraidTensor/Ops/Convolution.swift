// Convolutions over channels-last activations [batch, spatial axes..., channels], weights as PyTorch lays them out.

/// The strides, paddings and dilations of a convolution, one number an axis.
public struct ConvolutionAxes: Sendable, Hashable {
  public var stride: [Int]
  public var before: [Int]
  public var after: [Int]
  public var dilation: [Int]

  /// - Parameter padding: elements added before and after each axis.
  public init(stride: [Int], padding: [Int], dilation: [Int]) {
    self.init(stride: stride, before: padding, after: padding, dilation: dilation)
  }

  public init(stride: [Int], before: [Int], after: [Int], dilation: [Int]) {
    self.stride = stride
    self.before = before
    self.after = after
    self.dilation = dilation
  }
}

/// residual + activation(convolution of x + bias).
///
/// - Parameters:
///   - x: [B, axes..., I], one to three spatial axes.
///   - weight: [O, I / groups, kernel...].
///   - bias: [O], or nil.
///   - axes: stride, padding and dilation of each axis.
///   - groups: I and O are split into so many groups that do not see one another; I for a depthwise convolution.
///   - mode: what stands in the padding.
///   - residual: added at the end, of the output's shape, or nil.
/// - Returns: [B, axes..., O], each axis of size (before + size + after - dilation (kernel - 1) - 1) / stride + 1.
public func convolution(
  _ x: Tensor, _ weight: Tensor, bias: Tensor? = nil, axes: ConvolutionAxes, groups: Int = 1,
  mode: PaddingMode = .zeros, activation: Activation = .none, residual: Tensor? = nil
) -> Tensor {
  let rank = axes.stride.count
  precondition(
    x.rank == rank + 2 && weight.rank == rank + 2 && weight.shape[1] * groups == x.shape[-1],
    "convolution: x \(x.shape), weight \(weight.shape), \(groups) groups, \(rank) axes")
  var x = x
  var axes = axes
  if mode != .zeros && (axes.before + axes.after).contains(where: { $0 != 0 }) {
    x = x.padded(
      (0..<rank).map { AxisPadding(axis: $0 + 1, before: axes.before[$0], after: axes.after[$0]) }, mode: mode
    )
    axes.before = Array(repeating: 0, count: rank)
    axes.after = axes.before
  }
  let spatial = (0..<rank).map { (i: Int) -> ConvolutionGeometry.Axis in
    ConvolutionGeometry.Axis(
      input: x.shape[i + 1], kernel: weight.shape[i + 2], stride: axes.stride[i], dilation: axes.dilation[i],
      padBefore: axes.before[i], padAfter: axes.after[i])
  }
  let geometry = ConvolutionGeometry(
    batch: x.shape[0], spatial: spatial, inputChannels: x.shape[-1], outputChannels: weight.shape[0],
    groups: groups)
  precondition(
    geometry.axes.allSatisfy { $0.output > 0 && $0.stride > 0 && $0.dilation > 0 },
    "convolution: a kernel of \(weight.shape) with \(axes) does not fit into \(x.shape)")
  let shape = Shape([geometry.batch] + geometry.axes.suffix(rank).map(\.output) + [geometry.outputChannels])
  return convolve(
    x, weight, bias, residual, geometry: geometry, direction: .forward, shape: shape, activation: activation)
}

/// residual + activation(transposed convolution of x + bias), the gradient of a convolution by its input.
///
/// - Parameters:
///   - x: [B, axes..., I], one to three spatial axes.
///   - weight: [I, O / groups, kernel...].
///   - bias: [O], or nil.
///   - axes: stride, padding (taken off the output) and dilation of each axis.
///   - outputPadding: elements added after each axis of the output, or nil.
/// - Returns: [B, axes..., O], each axis of size
///   (size - 1) stride - before - after + dilation (kernel - 1) + outputPadding + 1.
public func transposedConvolution(
  _ x: Tensor, _ weight: Tensor, bias: Tensor? = nil, axes: ConvolutionAxes, outputPadding: [Int]? = nil,
  groups: Int = 1, activation: Activation = .none, residual: Tensor? = nil
) -> Tensor {
  let rank = axes.stride.count
  precondition(
    x.rank == rank + 2 && weight.rank == rank + 2 && weight.shape[0] == x.shape[-1],
    "transposedConvolution: x \(x.shape), weight \(weight.shape), \(rank) axes")
  let extra = outputPadding ?? Array(repeating: 0, count: rank)
  let spatial = (0..<rank).map { (i: Int) -> ConvolutionGeometry.Axis in
    let kernel = weight.shape[i + 2]
    let reach: Int = (x.shape[i + 1] - 1) * axes.stride[i] + axes.dilation[i] * (kernel - 1) + 1
    let size: Int = reach - axes.before[i] - axes.after[i] + extra[i]
    return ConvolutionGeometry.Axis(
      input: size, kernel: kernel, stride: axes.stride[i], dilation: axes.dilation[i],
      padBefore: axes.before[i], padAfter: axes.after[i] - extra[i])
  }
  let geometry = ConvolutionGeometry(
    batch: x.shape[0], spatial: spatial, inputChannels: weight.shape[1] * groups, outputChannels: x.shape[-1],
    groups: groups)
  let sizes = spatial.map(\.input)
  let fits = (0..<rank).allSatisfy { sizes[$0] > 0 && spatial[$0].output == x.shape[$0 + 1] }
  precondition(
    fits, "transposedConvolution: x \(x.shape), weight \(weight.shape), \(axes), output padding \(extra)")
  return convolve(
    x, weight, bias, residual, geometry: geometry, direction: .backward,
    shape: Shape([geometry.batch] + sizes + [geometry.inputChannels]), activation: activation)
}

private func convolve(
  _ x: Tensor, _ weight: Tensor, _ bias: Tensor?, _ residual: Tensor?, geometry: ConvolutionGeometry,
  direction: PackedConvolution.Direction, shape: Shape, activation: Activation
) -> Tensor {
  precondition(bias.map { $0.shape == [shape[-1]] } ?? true, "convolution: bias \(bias!.shape) for \(shape)")
  precondition(
    residual.map { $0.shape == shape } ?? true, "convolution: residual \(residual!.shape) for \(shape)")
  let inputs = [x, weight] + [bias, residual].compactMap { $0 }
  let records = Autograd.isRecording && inputs.contains { $0.requiresGradient }
  // The gradient of an activation needs its argument, so training computes the two apart.
  let isSplit = records && activation != .none
  // Without a gradient, channels that are a part of wider pixels are read where they lie.
  let plain = x.detached.cast(to: .float32)
  let pixel = records || geometry.isDepthwise ? nil : plain.pixelStride
  let xs = pixel == nil ? plain.contiguous() : plain
  let ws = weight.detached.contiguous()
  let argument = CPU.convolve(
    geometry, direction, xs, ws, inputPixel: pixel, bias: bias?.detached,
    residual: isSplit ? nil : residual?.detached,
    activation: isSplit ? .none : activation, shape: shape)
  if !records {
    OperationClock.tick("convolution")
    return argument
  }
  let activated = argument.activated(by: activation)
  var output = activated
  if isSplit, let residual { output = withoutGradient { activated + residual.detached } }
  let hasBias = bias != nil
  return Tensor.record("convolution", output, inputs: inputs) { gradient, needed in
    let dy = argument.activationGradient(gradient, output: activated, activation).contiguous()
    let opposite: PackedConvolution.Direction = direction == .forward ? .backward : .forward
    var results: [Tensor?] = [
      needed[0] ? CPU.convolve(geometry, opposite, dy, ws, shape: xs.shape) : nil,
      needed[1]
        ? Tensor.build(ws.shape) { out in
          xs.read { px in
            dy.read { py in
              CPU.convolveWeightGradient(
                geometry, input: direction == .forward ? px : py,
                outputGradient: direction == .forward ? py : px, weightGradient: out)
            }
          }
        } : nil,
    ]
    if hasBias { results.append(needed[2] ? dy.sum(axes: Array(0..<dy.rank - 1)) : nil) }
    if needed.count > results.count { results.append(gradient) }
    return results
  }
}

extension CPU {
  fileprivate static func convolve(
    _ geometry: ConvolutionGeometry, _ direction: PackedConvolution.Direction, _ x: Tensor, _ weight: Tensor,
    inputPixel: Int? = nil, bias: Tensor? = nil, residual: Tensor? = nil, activation: Activation = .none,
    shape: Shape
  ) -> Tensor {
    let packed = weight.storage.derived(
      "\(PackedConvolution.key(geometry, direction)) \(weight.dtype) \(weight.shape)@\(weight.offset)"
    ) {
      weight.read { PackedConvolution(geometry, direction, weight: $0) }
    }
    return Tensor.build(shape) { out in
      func run(_ input: UnsafePointer<Float>) {
        withOptional(bias) { bias in
          withOptional(residual) { residual in
            convolve(
              geometry, input: input, inputPixel: inputPixel, weights: packed, output: out,
              epilogue: GEMMEpilogue(bias: bias, activation: activation, residual: residual))
          }
        }
      }
      if inputPixel == nil { return x.read(run) }
      withExtendedLifetime(x.storage) {
        run(UnsafePointer(x.storage.pointer.assumingMemoryBound(to: Float.self)) + x.offset)
      }
    }
  }
}

extension Tensor {
  /// Floats from one pixel to the next where the channels of each lie together and the pixels evenly apart; nil where
  /// they do not.
  var pixelStride: Int? {
    guard rank >= 2, strides[rank - 1] == 1 || shape[rank - 1] == 1, elementCount > 0 else { return nil }
    let pixel = strides[rank - 2]
    var expected = pixel
    for axis in stride(from: rank - 2, through: 0, by: -1) {
      if shape[axis] != 1 && strides[axis] != expected { return nil }
      expected *= shape[axis]
    }
    return pixel >= shape[rank - 1] ? pixel : nil
  }
}

private func withOptional<Result>(_ tensor: Tensor?, _ body: (UnsafePointer<Float>?) -> Result) -> Result {
  guard let tensor else { return body(nil) }
  return tensor.read { body($0) }
}

// MARK: - By number of axes

/// As `convolution`, x [B, L, I], weight [O, I / groups, k].
public func conv1d(
  _ x: Tensor, _ weight: Tensor, bias: Tensor? = nil, stride: Int = 1, padding: Int = 0, dilation: Int = 1,
  groups: Int = 1, mode: PaddingMode = .zeros, activation: Activation = .none, residual: Tensor? = nil
) -> Tensor {
  convolution(
    x, weight, bias: bias, axes: ConvolutionAxes(1, stride, padding, dilation), groups: groups, mode: mode,
    activation: activation, residual: residual)
}

/// As `convolution`, x [B, H, W, I], weight [O, I / groups, kh, kw].
public func conv2d(
  _ x: Tensor, _ weight: Tensor, bias: Tensor? = nil, stride: Int = 1, padding: Int = 0, dilation: Int = 1,
  groups: Int = 1, mode: PaddingMode = .zeros, activation: Activation = .none, residual: Tensor? = nil
) -> Tensor {
  convolution(
    x, weight, bias: bias, axes: ConvolutionAxes(2, stride, padding, dilation), groups: groups, mode: mode,
    activation: activation, residual: residual)
}

/// As `convolution`, x [B, D, H, W, I], weight [O, I / groups, kd, kh, kw].
public func conv3d(
  _ x: Tensor, _ weight: Tensor, bias: Tensor? = nil, stride: Int = 1, padding: Int = 0, dilation: Int = 1,
  groups: Int = 1, mode: PaddingMode = .zeros, activation: Activation = .none, residual: Tensor? = nil
) -> Tensor {
  convolution(
    x, weight, bias: bias, axes: ConvolutionAxes(3, stride, padding, dilation), groups: groups, mode: mode,
    activation: activation, residual: residual)
}

/// As `transposedConvolution`, x [B, L, I], weight [I, O / groups, k].
public func transposedConv1d(
  _ x: Tensor, _ weight: Tensor, bias: Tensor? = nil, stride: Int = 1, padding: Int = 0,
  outputPadding: Int = 0, dilation: Int = 1, groups: Int = 1, activation: Activation = .none
) -> Tensor {
  transposedConvolution(
    x, weight, bias: bias, axes: ConvolutionAxes(1, stride, padding, dilation),
    outputPadding: [outputPadding], groups: groups, activation: activation)
}

/// As `transposedConvolution`, x [B, H, W, I], weight [I, O / groups, kh, kw].
public func transposedConv2d(
  _ x: Tensor, _ weight: Tensor, bias: Tensor? = nil, stride: Int = 1, padding: Int = 0,
  outputPadding: Int = 0, dilation: Int = 1, groups: Int = 1, activation: Activation = .none
) -> Tensor {
  transposedConvolution(
    x, weight, bias: bias, axes: ConvolutionAxes(2, stride, padding, dilation),
    outputPadding: [outputPadding, outputPadding], groups: groups, activation: activation)
}

extension ConvolutionAxes {
  fileprivate init(_ rank: Int, _ stride: Int, _ padding: Int, _ dilation: Int) {
    func all(_ value: Int) -> [Int] { Array(repeating: value, count: rank) }
    self.init(stride: all(stride), padding: all(padding), dilation: all(dilation))
  }
}
