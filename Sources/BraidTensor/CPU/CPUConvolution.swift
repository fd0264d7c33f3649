import CBraidKernels

/// The weights of a convolution, packed for one direction of it; packed once where they are constant.
final class PackedConvolution: Sendable {
  enum Direction: Hashable, Sendable {
    /// From the input to the output.
    case forward
    /// From the output's gradient to the input's: also the transposed convolution.
    case backward
  }
  enum Method: Hashable, Sendable { case product, taps, winograd, depthwise }

  let geometry: ConvolutionGeometry
  let direction: Direction
  let method: Method
  /// For taps: by stride phase, then group. For Winograd: the 36 planes. For a product: one matrix.
  let matrices: [[PackedMatrix]]
  /// For depthwise convolutions: [taps, channels].
  let tapWeights: DerivedNumbers?

  /// - Parameters:
  ///   - weight: [outputChannels, inputChannels / groups, kernel...], contiguous.
  ///   - method: nil chooses by shape.
  init(
    _ geometry: ConvolutionGeometry, _ direction: Direction, weight: UnsafePointer<Float>,
    method: Method? = nil,
    kernels: braid_kernels = braid_kernels_current().pointee
  ) {
    self.geometry = geometry
    self.direction = direction
    let chosen = method ?? Self.method(for: geometry)
    self.method = chosen
    tapWeights = chosen == .depthwise ? DepthwiseConvolution.pack(geometry, weight) : nil
    switch chosen {
    case .depthwise: matrices = []
    case .product, .taps:
      let phases = direction == .forward ? [TapSum.forward(geometry)] : TapSum.backward(geometry)
      matrices = phases.map { axes in Self.packTaps(geometry, direction, axes, weight, kernels.gemm) }
    case .winograd:
      matrices = [Winograd.pack(geometry, direction, weight, kernels.gemm)]
    }
  }

  static func method(for geometry: ConvolutionGeometry) -> Method {
    if geometry.isPointwise { return .product }
    if geometry.isDepthwise { return .depthwise }
    // Tiles of 4 x 4 waste the edges of small images.
    let worthwhile = geometry.axes[1].output >= 6 * geometry.axes[1].dilation && geometry.axes[2].output >= 6
    return geometry.admitsWinograd && worthwhile && geometry.inputChannels >= 24
      && geometry.outputChannels >= 24
      ? .winograd : .taps
  }

  /// What tells one packing from another of the same weight.
  static func key(_ geometry: ConvolutionGeometry, _ direction: Direction) -> String {
    let axes = geometry.axes.map {
      "\($0.kernel),\($0.stride),\($0.dilation)"
        + (direction == .backward ? ",\($0.padBefore % $0.stride)" : "")
    }
    return "conv \(direction) \(method(for: geometry)) \(geometry.groups) \(axes)"
  }

  /// One matrix a group, [taps x channels summed over, channels of the result].
  private static func packTaps(
    _ geometry: ConvolutionGeometry, _ direction: Direction, _ axes: [TapSum.Axis],
    _ weight: UnsafePointer<Float>, _ kernels: braid_gemm_kernels
  ) -> [PackedMatrix] {
    let taps = TapSum.tapOrder(axes, kernel: geometry.axes.map(\.kernel))
    let tapCount = geometry.tapCount
    let (inputs, outputs) = (geometry.groupInputs, geometry.groupOutputs)
    let rows = direction == .forward ? inputs : outputs
    let columns = direction == .forward ? outputs : inputs
    return (0..<geometry.groups).map { group in
      let source = weight + group * outputs * inputs * tapCount
      return PackedMatrix(
        blocks: taps.map { source + $0 }, blockRows: rows, columns: columns,
        rowStride: direction == .forward ? tapCount : inputs * tapCount,
        columnStride: direction == .forward ? inputs * tapCount : tapCount, kernels: kernels)
    }
  }
}

extension CPU {
  /// Output [batch, output axes..., outputChannels] = epilogue(convolution of input), or, of weights packed
  /// backward, [batch, input axes..., inputChannels] from the output's gradient.
  ///
  /// - Parameter inputPixel: floats from one pixel of the input to the next, its channels where nil (always so for
  ///   depthwise convolutions).
  static func convolve(
    _ geometry: ConvolutionGeometry, input: UnsafePointer<Float>, inputPixel: Int? = nil,
    weights: PackedConvolution, output: UnsafeMutablePointer<Float>, epilogue: GEMMEpilogue = GEMMEpilogue(),
    kernels: braid_kernels = braid_kernels_current().pointee
  ) {
    let backward = weights.direction == .backward
    let inputChannels = backward ? geometry.outputChannels : geometry.inputChannels
    let outputChannels = backward ? geometry.inputChannels : geometry.outputChannels
    let pixel = inputPixel ?? inputChannels
    var epilogue = epilogue
    epilogue.residualRowStride = outputChannels
    switch weights.method {
    case .product:
      gemm(
        m: geometry.batch * geometry.inputPixels, a: StridedMatrix(pointer: input, rowStride: pixel),
        b: weights.matrices[0][0], c: output, cRowStride: outputChannels, epilogue: epilogue)
    case .winograd:
      Winograd.run(
        geometry, weights.direction, input: input, inputPixel: pixel, matrices: weights.matrices[0],
        output: output, epilogue: epilogue, kernels: kernels)
    case .depthwise:
      for axes in backward ? TapSum.backward(geometry) : [TapSum.forward(geometry)] {
        DepthwiseConvolution(geometry, axes: axes, kernels: kernels.conv).run(
          input: input, weights: weights.tapWeights!, output: output, epilogue: epilogue)
      }
    case .taps:
      let phases = backward ? TapSum.backward(geometry) : [TapSum.forward(geometry)]
      for (phase, matrices) in zip(phases, weights.matrices) {
        TapSum(
          axes: phase, batch: geometry.batch, inputChannels: inputChannels,
          outputChannels: outputChannels, groups: geometry.groups, inputPixel: pixel, weights: matrices
        ).run(input: input, output: output, epilogue: epilogue)
      }
    }
  }
}
