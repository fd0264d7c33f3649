import CBraidKernels

extension Tensor {
  /// The elements normalised over the last axis: (x - mean) / sqrt(variance + epsilon) * weight + bias.
  ///
  /// - Parameters:
  ///   - weight, bias: [size of the last axis], or nil for none.
  public func layerNorm(weight: Tensor? = nil, bias: Tensor? = nil, epsilon: Float = 1e-5) -> Tensor {
    let n = lastAxis("layerNorm", weight, bias)
    let rows = n == 0 ? 0 : elementCount / n
    let x = detached.cast(to: .float32).contiguous()
    let (gamma, beta) = (weight?.detached, bias?.detached)
    let keeps = [self, weight, bias].contains { $0?.requiresGradient ?? false } && Autograd.isRecording
    let norm = CPU.kernels.pointee.norm
    let mean = keeps ? Tensor.uninitialized([rows]) : nil
    let rstd = keeps ? Tensor.uninitialized([rows]) : nil
    let y = x.read { px in
      CPU.reading(gamma) { pg in
        CPU.reading(beta) { pb in
          Tensor.build(shape) { y in
            let (m, s) = (mean?.mutablePointer, rstd?.mutablePointer)
            parallelRanges(rows, minimum: Swift.max(1, 8192 / Swift.max(1, n))) { range in
              let i = range.lowerBound
              norm.layer_norm(
                px + i * n, range.count, n, pg, pb, epsilon, y + i * n, m.map { $0 + i }, s.map { $0 + i })
            }
          }
        }
      }
    }
    return Tensor.record("layerNorm", y.cast(to: dtype), inputs: [self] + [weight, bias].compactMap { $0 }) {
      gradient, needed in
      let parameters = CPU.ParameterSums(rows: rows, columns: n)
      let dx = x.read { px in
        gradient.read { dy in
          CPU.reading(gamma) { pg in
            Tensor.build(x.shape) { dx in
              let (m, s) = (mean!.mutablePointer, rstd!.mutablePointer)
              parameters.run { range, dgamma, dbeta in
                let i = range.lowerBound
                norm.layer_norm_backward(
                  px + i * n, dy + i * n, range.count, n, pg, m + i, s + i, needed[0] ? dx + i * n : nil,
                  dgamma,
                  dbeta)
              }
            }
          }
        }
      }
      return [needed[0] ? dx : nil] + (gamma == nil ? [] : [parameters.first])
        + (beta == nil ? [] : [parameters.second])
    }
  }

  /// The elements divided by their root mean square over the last axis, times weight: x / sqrt(mean(x^2) + epsilon).
  public func rmsNorm(weight: Tensor? = nil, epsilon: Float = 1e-5) -> Tensor {
    let n = lastAxis("rmsNorm", weight, nil)
    let rows = n == 0 ? 0 : elementCount / n
    let x = detached.cast(to: .float32).contiguous()
    let gamma = weight?.detached
    let norm = CPU.kernels.pointee.norm
    let rstd = Tensor.uninitialized([rows])
    let y = x.read { px in
      CPU.reading(gamma) { pg in
        Tensor.build(shape) { y in
          let s = rstd.mutablePointer
          parallelRanges(rows, minimum: Swift.max(1, 8192 / Swift.max(1, n))) { range in
            let i = range.lowerBound
            norm.rms_norm(px + i * n, range.count, n, pg, epsilon, y + i * n, s + i)
          }
        }
      }
    }
    return Tensor.record("rmsNorm", y.cast(to: dtype), inputs: [self] + [weight].compactMap { $0 }) {
      gradient, needed in
      let parameters = CPU.ParameterSums(rows: rows, columns: n)
      let dx = x.read { px in
        gradient.read { dy in
          CPU.reading(gamma) { pg in
            Tensor.build(x.shape) { dx in
              let s = rstd.mutablePointer
              parameters.run { range, dgamma, _ in
                let i = range.lowerBound
                norm.rms_norm_backward(
                  px + i * n, dy + i * n, range.count, n, pg, s + i, needed[0] ? dx + i * n : nil, dgamma)
              }
            }
          }
        }
      }
      return [needed[0] ? dx : nil] + (gamma == nil ? [] : [parameters.first])
    }
  }

  private func lastAxis(_ name: StaticString, _ weight: Tensor?, _ bias: Tensor?) -> Int {
    precondition(rank > 0, "\(name): a scalar has no axis to normalise over")
    let n = shape[-1]
    for parameter in [weight, bias] {
      precondition(
        parameter == nil || parameter!.shape == [n],
        "\(name): a parameter of \(parameter!.shape) for the last axis of \(shape)")
    }
    return n
  }
}

extension CPU {
  /// Calls `body` with the float32 elements of a tensor, or nil.
  static func reading<Result>(_ tensor: Tensor?, _ body: (UnsafePointer<Float>?) -> Result) -> Result {
    guard let tensor else { return body(nil) }
    return tensor.read { body($0) }
  }

  /// Sums over rows for two parameters, made by pieces that do not depend on the number of threads.
  struct ParameterSums {
    let first, second: Tensor
    private let rows, columns, pieces: Int
    private let partial: Tensor

    init(rows: Int, columns: Int) {
      self.rows = rows
      self.columns = columns
      pieces = Swift.max(1, Swift.min(32, rows / 32))
      first = Tensor.zeros([columns])
      second = Tensor.zeros([columns])
      partial = Tensor.zeros([2, pieces, columns])
    }

    /// Calls `body` with ranges of rows and with where to add the two sums, then adds the pieces up.
    func run(_ body: (Range<Int>, UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>) -> Void) {
      let sums = partial.mutablePointer
      parallelFor(pieces) { piece in
        body(
          rows * piece / pieces..<rows * (piece + 1) / pieces, sums + piece * columns,
          sums + (pieces + piece) * columns)
      }
      let math = CPU.kernels.pointee.math
      math.column_sum(sums, pieces, columns, columns, first.mutablePointer)
      math.column_sum(sums + pieces * columns, pieces, columns, columns, second.mutablePointer)
    }
  }
}

extension Tensor {
  /// The first element's address in a contiguous float32 tensor that this code has just made; valid while it lives.
  var mutablePointer: UnsafeMutablePointer<Float> {
    storage.pointer.assumingMemoryBound(to: Float.self) + offset
  }
}
