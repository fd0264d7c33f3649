import CBraidKernels

extension Tensor {
  /// The elements normalised per image and group of channels: [B, ..., C], channels last.
  ///
  /// Mean and variance run over all positions and the C / groups channels of a group.
  ///
  /// - Parameters:
  ///   - weight, bias: [C], or nil for none.
  public func groupNorm(
    groups: Int, weight: Tensor? = nil, bias: Tensor? = nil, epsilon: Float = 1e-5
  ) -> Tensor {
    precondition(
      rank >= 2 && groups > 0 && shape[-1] % groups == 0,
      "groupNorm: \(groups) groups of channels in \(shape)")
    return grouped("groupNorm", batch: shape[0], groups: groups, weight, bias, epsilon).output
  }

  /// The elements normalised per image and channel: [B, ..., C], channels last.
  public func instanceNorm(weight: Tensor? = nil, bias: Tensor? = nil, epsilon: Float = 1e-5) -> Tensor {
    precondition(rank >= 2, "instanceNorm: \(shape) has no channels")
    return grouped("instanceNorm", batch: shape[0], groups: shape[-1], weight, bias, epsilon).output
  }

  /// The elements normalised per channel over everything else, for training: [..., C], channels last.
  ///
  /// - Returns: the output, with the batch's mean [C] and (biased) variance [C] for running averages.
  public func batchNorm(
    weight: Tensor? = nil, bias: Tensor? = nil, epsilon: Float = 1e-5
  ) -> (output: Tensor, mean: Tensor, variance: Tensor) {
    precondition(rank >= 2, "batchNorm: \(shape) has no channels")
    return grouped("batchNorm", batch: 1, groups: shape[-1], weight, bias, epsilon)
  }

  /// The elements normalised by given statistics, for inference: (x - mean) / sqrt(variance + epsilon) weight + bias.
  public func batchNorm(
    mean: Tensor, variance: Tensor, weight: Tensor? = nil, bias: Tensor? = nil, epsilon: Float = 1e-5
  ) -> Tensor {
    precondition(
      mean.shape == [shape[-1]] && variance.shape == mean.shape,
      "batchNorm: statistics of \(mean.shape) and \(variance.shape) for \(shape)")
    var factor = (variance + epsilon).reciprocalSquareRoot()
    if let weight { factor = factor * weight }
    var shift = -(mean * factor)
    if let bias { shift = shift + bias }
    return self * factor + shift
  }

  private func grouped(
    _ name: StaticString, batch: Int, groups: Int, _ weight: Tensor?, _ bias: Tensor?, _ epsilon: Float
  ) -> (output: Tensor, mean: Tensor, variance: Tensor) {
    let channels = shape[-1]
    for parameter in [weight, bias] {
      precondition(
        parameter == nil || parameter!.shape == [channels],
        "\(name): a parameter of \(parameter!.shape) for the channels of \(shape)")
    }
    let rows = batch * channels == 0 ? 0 : elementCount / (batch * channels)
    let x = detached.cast(to: .float32).contiguous()
    let (gamma, beta) = (weight?.detached.floats, bias?.detached.floats)
    let plan = GroupedNorm(batch: batch, rows: rows, channels: channels, groups: groups)
    let (mean, variance) = x.read { plan.statistics($0) }
    let rstd = variance.map { 1 / ($0 + epsilon).squareRoot() }
    let y = plan.normalise(x, mean: mean, rstd: rstd, gamma, beta)
    let output = Tensor.record(name, y.cast(to: dtype), inputs: [self] + [weight, bias].compactMap { $0 }) {
      gradient, needed in
      let result = plan.gradient(x, gradient.cast(to: .float32), mean: mean, rstd: rstd, gamma)
      return [needed[0] ? result.dx : nil] + (gamma == nil ? [] : [result.dgamma])
        + (beta == nil ? [] : [result.dbeta])
    }
    return (output, Tensor(mean, shape: [batch * groups]), Tensor(variance, shape: [batch * groups]))
  }
}
