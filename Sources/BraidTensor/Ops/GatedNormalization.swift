import CBraidKernels

/// h over its root mean square, times weight, with h = (y + skip ⊙ x) ⊙ SiLU(gate): the end of a Mamba-2 layer.
///
/// - Parameters:
///   - y: [..., C]; x and gate of the same shape.
///   - skip: [C].
///   - weight: [C].
///   - groups: groups of neighbouring channels that are normalised by themselves.
/// - Returns: [..., C]. One pass where no gradient is recorded.
public func gatedRMSNorm(
  _ y: Tensor, x: Tensor, skip: Tensor, gate: Tensor, weight: Tensor, groups: Int = 1, epsilon: Float = 1e-5
) -> Tensor {
  let channels = y.shape[-1]
  precondition(
    x.shape == y.shape && gate.shape == y.shape && skip.shape == [channels] && weight.shape == [channels]
      && groups > 0 && channels % groups == 0,
    "gatedRMSNorm: y \(y.shape), x \(x.shape), gate \(gate.shape), skip \(skip.shape), weight \(weight.shape) "
      + "in \(groups) groups")
  if Autograd.isRecording, [y, x, skip, gate, weight].contains(where: \.requiresGradient) {
    let h = (y + x * skip) * gate.silu()
    if groups == 1 { return h.rmsNorm(weight: weight, epsilon: epsilon) }
    let grouped = Shape(y.shape.dimensions.dropLast() + [groups, channels / groups])
    return h.reshaped(grouped).rmsNorm(epsilon: epsilon).reshaped(y.shape) * weight
  }
  let rows = y.elementCount / Swift.max(channels, 1)
  let (y, x, gate) = (y.evenRows, x.evenRows, gate.evenRows)
  let output = Tensor.build(y.shape) { out in
    skip.read { skip in
      weight.read { weight in
        withExtendedLifetime((y, x, gate)) {
          parallelRanges(rows, minimum: Swift.max(1, 8192 / Swift.max(1, channels))) { range in
            var norm = braid_gated_norm()
            norm.rows = range.count
            norm.groups = groups
            norm.n = channels / groups
            (norm.y_row, norm.x_row, norm.gate_row) = (y.rowStride, x.rowStride, gate.rowStride)
            norm.y = y.start(ofRow: range.lowerBound)
            norm.x = x.start(ofRow: range.lowerBound)
            norm.gate = gate.start(ofRow: range.lowerBound)
            norm.skip = skip
            norm.gamma = weight
            norm.epsilon = epsilon
            norm.out = out + range.lowerBound * channels
            CPU.kernels.pointee.norm.gated_rms_norm(&norm)
          }
        }
      }
    }
  }
  OperationClock.tick("gatedRMSNorm")
  return output
}

extension Tensor {
  /// The same in float32, copied only where its rows (of the last axis) have gaps inside or differ in their distance.
  fileprivate var evenRows: Tensor {
    let x = detached.cast(to: .float32)
    guard x.rank > 1, x.strides[x.rank - 1] == 1 else { return x.contiguous() }
    let isEven = (0..<x.rank - 2).allSatisfy {
      x.shape[$0] == 1 || x.strides[$0] == x.strides[$0 + 1] * x.shape[$0 + 1]
    }
    return isEven ? x : x.contiguous()
  }

  fileprivate var rowStride: Int { rank > 1 ? strides[rank - 2] : shape[-1] }

  fileprivate func start(ofRow row: Int) -> UnsafePointer<Float> {
    UnsafePointer(storage.pointer.assumingMemoryBound(to: Float.self)) + offset + row * rowStride
  }
}
