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
    let (mean, variance) = plan.statistics(x)
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

/// Normalisation of [batch, rows, channels] over the rows and the channels of a group.
private struct GroupedNorm: Sendable {
  let batch, rows, channels, groups: Int
  /// Rows of one piece of a sum; fixed, so that results do not depend on the number of threads.
  private let pieceRows = 512

  private var pieces: Int { Swift.max(1, (rows + pieceRows - 1) / pieceRows) }
  private var width: Int { channels / groups }
  private var count: Float { Float(rows * width) }

  /// Adds up, per image and channel, what `body` adds for runs of rows: [batch * channels].
  private func sums(_ body: (_ start: Int, _ rows: Int, _ image: Int, UnsafeMutablePointer<Float>) -> Void)
    -> [Float]
  {
    let partial = Tensor.zeros([batch, pieces, channels])
    let all = partial.mutablePointer
    parallelFor(batch * pieces) { task in
      let (image, piece) = task.quotientAndRemainder(dividingBy: pieces)
      let first = piece * pieceRows
      body(
        (image * rows + first) * channels, Swift.max(0, Swift.min(pieceRows, rows - first)), image,
        all + task * channels)
    }
    var totals = [Float](repeating: 0, count: batch * channels)
    let math = CPU.kernels.pointee.math
    totals.withUnsafeMutableBufferPointer { totals in
      for image in 0..<batch {
        math.column_sum(
          all + image * pieces * channels, pieces, channels, channels, totals.baseAddress! + image * channels)
      }
    }
    return withExtendedLifetime(partial) { totals }
  }

  /// Sums of neighbouring channels: [batch * groups], times `factor`.
  private func grouped(_ perChannel: [Float], times factor: Float) -> [Float] {
    (0..<batch * groups).map { group in
      Float((0..<width).reduce(0.0) { $0 + Double(perChannel[group * width + $1]) } * Double(factor))
    }
  }

  /// A number per image and group as one per image and channel.
  private func spread(_ perGroup: [Float]) -> [Float] { (0..<batch * channels).map { perGroup[$0 / width] } }

  func statistics(_ x: Tensor) -> (mean: [Float], variance: [Float]) {
    let kernels = CPU.kernels.pointee
    return x.read { px in
      let mean = grouped(
        sums { kernels.math.column_sum(px + $0, $1, channels, channels, $3) }, times: 1 / count)
      let centre = spread(mean)
      let variance = centre.withUnsafeBufferPointer { centre in
        sums { kernels.norm.column_deviation(px + $0, $1, channels, centre.baseAddress! + $2 * channels, $3) }
      }
      return (mean, grouped(variance, times: 1 / count))
    }
  }

  /// Runs `body` on runs of rows of every image.
  private func each(_ body: (_ start: Int, _ rows: Int, _ image: Int) -> Void) {
    parallelFor(batch * pieces) { task in
      let (image, piece) = task.quotientAndRemainder(dividingBy: pieces)
      let first = piece * pieceRows
      body((image * rows + first) * channels, Swift.max(0, Swift.min(pieceRows, rows - first)), image)
    }
  }

  func normalise(_ x: Tensor, mean: [Float], rstd: [Float], _ gamma: [Float]?, _ beta: [Float]?) -> Tensor {
    let scale = (0..<batch * channels).map { rstd[$0 / width] * (gamma?[$0 % channels] ?? 1) }
    let shift = (0..<batch * channels).map { (beta?[$0 % channels] ?? 0) - mean[$0 / width] * scale[$0] }
    let norm = CPU.kernels.pointee.norm
    return x.read { px in
      Tensor.build(x.shape) { y in
        scale.withUnsafeBufferPointer { scale in
          shift.withUnsafeBufferPointer { shift in
            each { start, rows, image in
              norm.column_affine(
                px + start, rows, channels, scale.baseAddress! + image * channels,
                shift.baseAddress! + image * channels, y + start)
            }
          }
        }
      }
    }
  }

  func gradient(_ x: Tensor, _ gradient: Tensor, mean: [Float], rstd: [Float], _ gamma: [Float]?) -> (
    dx: Tensor, dgamma: Tensor, dbeta: Tensor
  ) {
    let kernels = CPU.kernels.pointee
    let centre = spread(mean)
    return x.read { px in
      gradient.read { dy in
        let sum = sums { kernels.math.column_sum(dy + $0, $1, channels, channels, $3) }
        let product = centre.withUnsafeBufferPointer { centre in
          sums {
            kernels.norm.column_covariance(
              dy + $0, px + $0, $1, channels, centre.baseAddress! + $2 * channels, $3)
          }
        }
        var dgamma = [Float](repeating: 0, count: channels)
        var dbeta = dgamma
        for i in 0..<batch * channels {
          dgamma[i % channels] += product[i] * rstd[i / width]
          dbeta[i % channels] += sum[i]
        }
        func weighted(_ values: [Float]) -> [Float] {
          gamma == nil ? values : values.enumerated().map { $1 * gamma![$0 % channels] }
        }
        let mean1 = grouped(weighted(sum), times: 1 / count)
        let mean2 = grouped(weighted(product), times: 1 / count)
        // dx = rstd (gamma dy - mean1 - (x - mean) rstd^2 mean2)
        let p = (0..<batch * channels).map { rstd[$0 / width] * (gamma?[$0 % channels] ?? 1) }
        let q = (0..<batch * channels).map { i in
          let s = rstd[i / width]
          return -s * s * s * mean2[i / width]
        }
        let s = (0..<batch * channels).map {
          -rstd[$0 / width] * mean1[$0 / width] - q[$0] * mean[$0 / width]
        }
        let dx = Tensor.build(x.shape) { dx in
          p.withUnsafeBufferPointer { p in
            q.withUnsafeBufferPointer { q in
              s.withUnsafeBufferPointer { s in
                each { start, rows, image in
                  let at = image * channels
                  kernels.norm.column_combine(
                    dy + start, px + start, rows, channels, p.baseAddress! + at, q.baseAddress! + at,
                    s.baseAddress! + at, dx + start)
                }
              }
            }
          }
        }
        return (dx, Tensor(dgamma), Tensor(dbeta))
      }
    }
  }
}
