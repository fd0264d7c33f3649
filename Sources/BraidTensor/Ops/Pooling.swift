// Pooling of channels-last maps [batch, spatial..., channels] with one, two or three spatial axes.

extension Tensor {
  private func spatialAxes(_ count: Int, _ name: StaticString) -> [Int] {
    precondition(
      (1...3).contains(count) && rank == count + 2,
      "\(name): \(shape) has not the form [batch, \(count) spatial axes, channels]")
    return Array(1...count)
  }

  /// The means over windows: [batch, spatial'..., channels].
  ///
  /// Along an axis of size n the result has (n + 2 padding - kernel) / stride + 1 elements, rounded down, or up with
  /// `ceilMode` (without windows that would start beyond the padded end on the right). A window that reaches into the
  /// padding is divided by its size within the padded axis, or, without `countingPadding`, by the number of its
  /// elements that exist. As torch.nn.functional.avg_pool1d, 2d, 3d.
  public func averagePooled(
    kernel: [Int], stride: [Int]? = nil, padding: [Int]? = nil, ceilMode: Bool = false,
    countingPadding: Bool = true
  ) -> Tensor {
    var matrices: [Int: ResamplingMatrix] = [:]
    for (i, axis) in spatialAxes(kernel.count, "averagePooled").enumerated() {
      let window = PoolingWindow(
        size: shape[axis], kernel: kernel[i], stride: stride?[i] ?? kernel[i], padding: padding?[i] ?? 0,
        dilation: 1, ceilMode: ceilMode, "averagePooled")
      let size = shape[axis]
      matrices[axis] = ResamplingMatrix(inputs: size, outputs: window.outputs) { output in
        let begin = output * window.stride - window.padding
        let end = Swift.min(begin + window.kernel, size + window.padding)
        let (first, last) = (Swift.max(begin, 0), Swift.min(end, size))
        let count = Swift.max(0, last - first)
        let divisor = countingPadding ? end - begin : count
        return (Swift.min(first, size - count), [Float](repeating: 1 / Float(divisor), count: count))
      }
    }
    return resampled("averagePooled", matrices)
  }

  /// The means over windows that divide each axis into `sizes` parts: part i of m of an axis of n holds the elements
  /// from floor(i n / m) up to ceil((i + 1) n / m). As torch.nn.functional.adaptive_avg_pool1d, 2d, 3d.
  public func adaptiveAveragePooled(_ sizes: [Int]) -> Tensor {
    var matrices: [Int: ResamplingMatrix] = [:]
    for (i, axis) in spatialAxes(sizes.count, "adaptiveAveragePooled").enumerated() {
      let (size, parts) = (shape[axis], sizes[i])
      precondition(size > 0 && parts > 0, "adaptiveAveragePooled: \(shape) into \(sizes)")
      matrices[axis] = ResamplingMatrix(inputs: size, outputs: parts) { part in
        let start = part * size / parts
        let count = ((part + 1) * size + parts - 1) / parts - start
        return (start, [Float](repeating: 1 / Float(count), count: count))
      }
    }
    return resampled("adaptiveAveragePooled", matrices)
  }

  /// The means over all spatial axes: [batch, channels], or [batch, 1..., channels] with `keepingAxes`.
  public func globalAveragePooled(keepingAxes: Bool = false) -> Tensor {
    mean(axes: Array(1..<rank - 1), keepingAxes: keepingAxes)
  }

  /// The largest elements of windows: [batch, spatial'..., channels]. Padding never wins; NaN does. The gradient goes
  /// to the first of equals. Sizes as in `averagePooled`, with kernel replaced by (kernel - 1) dilation + 1. As
  /// torch.nn.functional.max_pool1d, 2d, 3d.
  public func maxPooled(
    kernel: [Int], stride: [Int]? = nil, padding: [Int]? = nil, dilation: [Int]? = nil, ceilMode: Bool = false
  ) -> Tensor {
    let windows = spatialAxes(kernel.count, "maxPooled").enumerated().map { i, axis in
      PoolingWindow(
        size: shape[axis], kernel: kernel[i], stride: stride?[i] ?? kernel[i], padding: padding?[i] ?? 0,
        dilation: dilation?[i] ?? 1, ceilMode: ceilMode, "maxPooled")
    }
    let target = Shape([shape[0]] + windows.map(\.outputs) + [shape[-1]])
    let full = shape
    let (values, positions) = CPU.maxPool(
      detached.cast(to: .float32), windows, target, keepingPositions: requiresGradient)
    return Tensor.record("maxPooled", values.cast(to: dtype), inputs: [self]) { gradient, _ in
      [CPU.maxPoolGradient(gradient, positions!, windows, full)]
    }
  }
}

/// Where the windows of one pooled axis lie.
struct PoolingWindow {
  let size, kernel, stride, padding, dilation, outputs: Int

  init(
    size: Int, kernel: Int, stride: Int, padding: Int, dilation: Int, ceilMode: Bool, _ name: StaticString
  ) {
    precondition(
      kernel > 0 && stride > 0 && dilation > 0 && padding >= 0 && 2 * padding <= kernel,
      "\(name): kernel \(kernel), stride \(stride), padding \(padding) (at most half the kernel)")
    let room = size + 2 * padding - dilation * (kernel - 1) - 1
    precondition(room >= 0, "\(name): an axis of \(size) is shorter than the window of \(kernel)")
    var outputs = room / stride + 1
    if ceilMode {
      outputs = (room + stride - 1) / stride + 1
      if (outputs - 1) * stride >= size + padding { outputs -= 1 }
    }
    self.size = size
    self.kernel = kernel
    self.stride = stride
    self.padding = padding
    self.dilation = dilation
    self.outputs = outputs
  }

  /// An axis that is not pooled.
  static let single = PoolingWindow(
    size: 1, kernel: 1, stride: 1, padding: 0, dilation: 1, ceilMode: false, "maxPooled")

  /// The inputs of a window that exist, in order.
  @inline(__always) func inputs(of output: Int) -> StrideTo<Int> {
    var begin = output * stride - padding
    let end = Swift.min(begin + dilation * kernel, size)
    if begin < 0 { begin += (-begin + dilation - 1) / dilation * dilation }
    return Swift.stride(from: begin, to: end, by: dilation)
  }
}
