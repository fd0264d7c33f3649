extension Tensor {
  /// Channels turned into pixels: [..., H, W, C r r] to [..., H r, W r, C].
  ///
  /// out[..., h r + i, w r + j, c] = in[..., h, w, c r r + i r + j], torch's order of channels.
  public func pixelShuffled(_ factor: Int) -> Tensor {
    precondition(
      rank >= 3 && factor > 0 && shape[-1] % (factor * factor) == 0,
      "pixelShuffled: the channels of \(shape) do not divide by \(factor) squared")
    if factor == 1 { return self }
    let output = CPU.pixelShuffle(detached.cast(to: .float32), factor)
    return Tensor.record("pixelShuffled", output.cast(to: dtype), inputs: [self]) { gradient, _ in
      [CPU.pixelUnshuffle(gradient, factor)]
    }
  }

  /// Pixels turned into channels: [..., H r, W r, C] to [..., H, W, C r r], the inverse of `pixelShuffled`.
  public func pixelUnshuffled(_ factor: Int) -> Tensor {
    precondition(
      rank >= 3 && factor > 0 && shape[-3] % factor == 0 && shape[-2] % factor == 0,
      "pixelUnshuffled: height and width of \(shape) do not divide by \(factor)")
    if factor == 1 { return self }
    let output = CPU.pixelUnshuffle(detached.cast(to: .float32), factor)
    return Tensor.record("pixelUnshuffled", output.cast(to: dtype), inputs: [self]) { gradient, _ in
      [CPU.pixelShuffle(gradient, factor)]
    }
  }
}

extension CPU {
  fileprivate static func pixelShuffle(_ x: Tensor, _ factor: Int) -> Tensor {
    var dimensions = x.shape.dimensions
    let last = x.rank - 1
    let (width, channels) = (dimensions[last - 1], dimensions[last] / (factor * factor))
    let rows = dimensions[..<(last - 1)].reduce(1, *)
    dimensions[last - 2] *= factor
    dimensions[last - 1] *= factor
    dimensions[last] = channels
    let row = width * channels * factor
    return x.read { from in
      Tensor.build(Shape(dimensions)) { to in
        parallelRanges(rows, minimum: Swift.max(1, 16_384 / Swift.max(1, row * factor))) { range in
          for r in range {
            kernels.pointee.image.pixel_shuffle(
              from + r * row * factor, width, channels, factor, to + r * row * factor, row)
          }
        }
      }
    }
  }

  fileprivate static func pixelUnshuffle(_ x: Tensor, _ factor: Int) -> Tensor {
    var dimensions = x.shape.dimensions
    let last = x.rank - 1
    let channels = dimensions[last]
    dimensions[last - 2] /= factor
    dimensions[last - 1] /= factor
    dimensions[last] *= factor * factor
    let width = dimensions[last - 1]
    let rows = dimensions[..<(last - 1)].reduce(1, *)
    let row = width * channels * factor
    return x.read { from in
      Tensor.build(Shape(dimensions)) { to in
        parallelRanges(rows, minimum: Swift.max(1, 16_384 / Swift.max(1, row * factor))) { range in
          for r in range {
            kernels.pointee.image.pixel_unshuffle(
              from + r * row * factor, row, width, channels, factor, to + r * row * factor)
          }
        }
      }
    }
  }
}
