import CBraidKernels

extension Tensor {
  /// PReLU of the instance norm, as one operation: [B, ..., C], channels last.
  ///
  ///     z = (x - mean) / sqrt(variance + epsilon) weight + bias;  y = z where z > 0, slope z elsewhere
  ///
  /// Mean and variance are those of an image's channel over all positions. The gradient computes z again, so that
  /// only x is kept for it.
  ///
  /// - Parameters:
  ///   - weight, bias, slope: [C].
  public func instanceNormPReLU(
    weight: Tensor, bias: Tensor, slope: Tensor, epsilon: Float = 1e-5
  ) -> Tensor {
    let channels = shape[-1]
    precondition(
      rank >= 2 && [weight, bias, slope].allSatisfy { $0.shape == [channels] },
      "instanceNormPReLU: \(shape), weight \(weight.shape), bias \(bias.shape), slope \(slope.shape)")
    let x = detached.cast(to: .float32).contiguous()
    let plan = NormalizedPReLU(x, weight: weight, bias: bias, slope: slope, epsilon: epsilon)
    let y = Tensor.build(shape) { y in x.read { plan.run($0, into: y, rowStride: channels) } }
    return Tensor.record("instanceNormPReLU", y, inputs: [self, weight, bias, slope]) { gradient, _ in
      x.read { px in
        gradient.read { dy in
          let sums = plan.sums(px, dy, rowStride: channels)
          let dx = Tensor.build(x.shape) { plan.gradient(px, dy, rowStride: channels, sums, into: $0) }
          return [dx, Tensor(sums.weight), Tensor(sums.bias), Tensor(sums.slope)]
        }
      }
    }
  }
}

extension Tensor {
  /// Writes what `instanceNormPReLU` gives into a view of this shape whose pixels lie evenly apart: a part of the
  /// channels of a wider map, or this tensor itself. Nothing is recorded.
  public func writeInstanceNormPReLU(
    weight: Tensor, bias: Tensor, slope: Tensor, epsilon: Float = 1e-5, into target: Tensor
  ) {
    let x = detached.cast(to: .float32).contiguous()
    guard let pixel = target.pixelStride, target.shape == shape, target.dtype == .float32 else {
      preconditionFailure(
        "writeInstanceNormPReLU: \(shape) into \(target.shape) with strides \(target.strides)")
    }
    let plan = NormalizedPReLU(x, weight: weight, bias: bias, slope: slope, epsilon: epsilon)
    withExtendedLifetime(target.storage) {
      let y = target.storage.pointer.assumingMemoryBound(to: Float.self) + target.offset
      x.read { plan.run($0, into: y, rowStride: pixel) }
    }
    OperationClock.tick("instanceNormPReLU")
  }
}

/// The statistics of an instance norm with a PReLU behind it, and what follows from them.
struct NormalizedPReLU: Sendable {
  let plan: GroupedNorm
  private let gamma, slope, mean, rstd: [Float]
  /// z = scale x + shift, [batch, channels].
  private let scale, shift: [Float]

  init(_ x: Tensor, weight: Tensor, bias: Tensor, slope: Tensor, epsilon: Float) {
    let channels = x.shape[-1], batch = x.shape[0]
    plan = GroupedNorm(
      batch: batch, rows: x.elementCount / Swift.max(1, batch * channels), channels: channels,
      groups: channels)
    let (mean, variance) = x.read { [plan] in plan.statistics($0) }
    let (gamma, beta) = (weight.detached.floats, bias.detached.floats)
    let rstd = variance.map { 1 / ($0 + epsilon).squareRoot() }
    let scale = rstd.indices.map { rstd[$0] * gamma[$0 % channels] }
    (self.gamma, self.slope, self.mean, self.rstd, self.scale) = (
      gamma, slope.detached.floats, mean, rstd, scale
    )
    shift = rstd.indices.map { beta[$0 % channels] - mean[$0] * scale[$0] }
  }

  /// Calls `body` with the tables of an image: of z, the centre and the slope.
  private func tables(
    _ image: Int,
    _ body: (
      _ scale: UnsafePointer<Float>, _ shift: UnsafePointer<Float>, _ centre: UnsafePointer<Float>,
      _ slope: UnsafePointer<Float>
    ) -> Void
  ) {
    let at = image * plan.channels
    scale.withUnsafeBufferPointer { scale in
      shift.withUnsafeBufferPointer { shift in
        mean.withUnsafeBufferPointer { mean in
          slope.withUnsafeBufferPointer { slope in
            body(
              scale.baseAddress! + at, shift.baseAddress! + at, mean.baseAddress! + at, slope.baseAddress!)
          }
        }
      }
    }
  }

  /// y, whose rows are `rowStride` floats apart.
  func run(_ x: UnsafePointer<Float>, into y: UnsafeMutablePointer<Float>, rowStride: Int) {
    let (norm, channels) = (CPU.kernels.pointee.norm, plan.channels)
    plan.each { first, rows, image, _ in
      tables(image) { scale, shift, _, slope in
        norm.column_affine_prelu(
          x + first * channels, rows, channels, rowStride, scale, shift, slope, y + first * rowStride)
      }
    }
  }

  struct Sums {
    /// Gradients of the parameters.
    var weight, bias, slope: [Float]
    /// dx = scale dz + q x + s, [batch, channels].
    var q, s: [Float]
  }

  /// What the gradients need of the whole map; rows of dy are `rowStride` floats apart.
  func sums(_ x: UnsafePointer<Float>, _ dy: UnsafePointer<Float>, rowStride: Int) -> Sums {
    let (norm, channels) = (CPU.kernels.pointee.norm, plan.channels)
    let all = plan.sums(of: 3) { first, rows, image, target in
      tables(image) { scale, shift, centre, slope in
        norm.column_prelu_sums(
          x + first * channels, dy + first * rowStride, rows, channels, rowStride, scale, shift, centre,
          slope,
          target)
      }
    }
    let zeros = [Float](repeating: 0, count: channels)
    var result = Sums(weight: zeros, bias: zeros, slope: zeros, q: [], s: [])
    for i in 0..<plan.batch * channels {
      let c = i % channels, at = i / channels * 3 * channels + c
      let (sum, product) = (all[at], all[at + channels])
      result.weight[c] += product * rstd[i]
      result.bias[c] += sum
      result.slope[c] += all[at + 2 * channels]
      // dx = rstd (gamma dz - mean(gamma dz) - (x - mean) rstd^2 mean(gamma dz (x - mean)))
      let q = -rstd[i] * rstd[i] * rstd[i] * gamma[c] * product / Float(plan.rows)
      result.q.append(q)
      result.s.append(-rstd[i] * gamma[c] * sum / Float(plan.rows) - q * mean[i])
    }
    return result
  }

  func gradient(
    _ x: UnsafePointer<Float>, _ dy: UnsafePointer<Float>, rowStride: Int, _ sums: Sums,
    into dx: UnsafeMutablePointer<Float>
  ) {
    let (norm, channels) = (CPU.kernels.pointee.norm, plan.channels)
    sums.q.withUnsafeBufferPointer { q in
      sums.s.withUnsafeBufferPointer { s in
        plan.each { first, rows, image, _ in
          tables(image) { scale, shift, _, slope in
            norm.column_prelu_combine(
              x + first * channels, dy + first * rowStride, rows, channels, rowStride, scale, shift, slope,
              q.baseAddress! + image * channels, s.baseAddress! + image * channels, dx + first * channels)
          }
        }
      }
    }
  }
}
