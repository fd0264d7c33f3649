import BraidTensor

extension ImageBuffer {
  /// The colours as a tensor [1, height, width, 3], RGB in 0...1; grey stands in all three channels.
  public func tensor() -> Tensor {
    Tensor.build([1, height, width, 3]) { out in
      switch samples {
      case .eight(let values): expand(values, top: 255, into: out)
      case .sixteen(let values): expand(values, top: 65535, into: out)
      }
    }
  }

  /// The alpha channel as a tensor [1, height, width, 1] in 0...1, or nil where the picture has none.
  public func alphaTensor() -> Tensor? {
    guard hasAlpha else { return nil }
    func pick<Sample: FixedWidthInteger>(_ values: [Sample], _ top: Float) -> Tensor {
      Tensor.build([1, height, width, 1]) { out in
        values.withUnsafeBufferPointer { from in
          for i in 0..<height * width { out[i] = Float(from[i * channels + channels - 1]) / top }
        }
      }
    }
    return switch samples {
    case .eight(let values): pick(values, 255)
    case .sixteen(let values): pick(values, 65535)
    }
  }

  /// A picture of a tensor [1, height, width, 3] or [height, width, 3] in 0...1 and its alpha of one channel.
  ///
  /// Clamped, and rounded half to even at `depth` 8 or 16. As grey, the mean of the three channels is taken.
  /// Stops on other shapes.
  public init(tensor: Tensor, alpha: Tensor? = nil, colourModel: ColourModel = .rgb, depth: Int = 8) {
    let rank = tensor.rank
    precondition(
      (rank == 3 || rank == 4 && tensor.shape[0] == 1) && tensor.shape[-1] == 3,
      "ImageBuffer: \(tensor.shape) is not [1, H, W, 3]")
    let (height, width) = (tensor.shape[-3], tensor.shape[-2])
    precondition(
      alpha.map { $0.elementCount == height * width } ?? true,
      "ImageBuffer: alpha \(String(describing: alpha?.shape)) for \(tensor.shape)")
    func gather<Sample: FixedWidthInteger>(_ top: Float) -> [Sample] {
      let colours = colourModel.rawValue
      let channels = colours + (alpha == nil ? 0 : 1)
      return [Sample](unsafeUninitializedCapacity: height * width * channels) { out, count in
        count = height * width * channels
        let target = out.baseAddress!
        tensor.read { from in
          parallelRanges(height * width, minimum: 1 << 16) { range in
            if colours == 1 {
              for i in range {
                let mean = (from[i * 3] + from[i * 3 + 1] + from[i * 3 + 2]) / 3
                target[i * channels] = Sample(truncatingIfNeeded: ImageBuffer.scaled(mean, top))
              }
            } else if channels == 3 {
              for i in range.lowerBound * 3..<range.upperBound * 3 {
                target[i] = Sample(truncatingIfNeeded: ImageBuffer.scaled(from[i], top))
              }
            } else {
              for i in range {
                for c in 0..<3 {
                  target[i * 4 + c] = Sample(truncatingIfNeeded: ImageBuffer.scaled(from[i * 3 + c], top))
                }
              }
            }
          }
        }
        alpha?.read { from in
          for i in 0..<height * width {
            target[i * channels + colours] = Sample(truncatingIfNeeded: ImageBuffer.scaled(from[i], top))
          }
        }
      }
    }
    self.init(
      width: width, height: height, colourModel: colourModel, hasAlpha: alpha != nil,
      samples: depth == 16 ? .sixteen(gather(65535)) : .eight(gather(255)))
  }

  private func expand<Sample: FixedWidthInteger>(
    _ values: [Sample], top: Float, into out: UnsafeMutablePointer<Float>
  ) {
    let step = channels
    values.withUnsafeBufferPointer { from in
      parallelRanges(height * width, minimum: 1 << 16) { range in
        if step == 3 {
          for i in range.lowerBound * 3..<range.upperBound * 3 { out[i] = Float(from[i]) / top }
        } else if step == 4 {
          for i in range { for c in 0..<3 { out[i * 3 + c] = Float(from[i * 4 + c]) / top } }
        } else {
          for i in range {
            let value = Float(from[i * step]) / top
            (out[i * 3], out[i * 3 + 1], out[i * 3 + 2]) = (value, value, value)
          }
        }
      }
    }
  }
}
