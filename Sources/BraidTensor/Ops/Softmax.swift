import CBraidKernels

extension Tensor {
  /// exp(scale x) over its sum along an axis; zeros where all of them are -inf.
  public func softmax(axis: Int = -1, scale: Float = 1) -> Tensor {
    rowwise("softmax", axis) { x in
      let n = x.shape[-1]
      let norm = CPU.kernels.pointee.norm
      let y = CPU.rows(x.detached) { norm.softmax($0, $2, n, scale, $1) }
      return Tensor.record("softmax", y, inputs: [x]) { gradient, _ in
        [CPU.rows(y, gradient) { norm.softmax_backward($0, $1, $3, n, scale, $2) }]
      }
    }
  }

  /// x - log(sum(exp(x))) along an axis.
  public func logSoftmax(axis: Int = -1) -> Tensor {
    rowwise("logSoftmax", axis) { x in
      let n = x.shape[-1]
      let norm = CPU.kernels.pointee.norm
      let y = CPU.rows(x.detached) { norm.log_softmax($0, $2, n, $1) }
      return Tensor.record("logSoftmax", y, inputs: [x]) { gradient, _ in
        [CPU.rows(y, gradient) { norm.log_softmax_backward($0, $1, $3, n, $2) }]
      }
    }
  }

  /// The cross-entropy of softmax(logits) and integer labels, one number per row: [...] of logits [..., classes].
  ///
  /// A row whose label is outside 0..<classes (the usual -100, say) gives 0 and has no gradient. With smoothing s the
  /// target is 1 - s on the label and s / classes spread over all.
  public func softmaxCrossEntropy(labels: Tensor, smoothing: Float = 0) -> Tensor {
    precondition(
      rank > 0 && Shape(shape.dimensions.dropLast()) == labels.shape,
      "softmaxCrossEntropy: labels of \(labels.shape) for logits of \(shape)")
    let n = shape[-1]
    let rows = labels.elementCount
    let x = detached.cast(to: .float32).contiguous()
    let targets = labels.elements(as: Int64.self)
    let kernels = CPU.kernels.pointee
    let lse = Tensor.uninitialized([rows])
    let loss = x.read { px in
      Tensor.build(labels.shape) { loss in
        let total = lse.mutablePointer
        parallelRanges(rows, minimum: Swift.max(1, 8192 / Swift.max(1, n))) { range in
          kernels.norm.log_sum_exp(px + range.lowerBound * n, range.count, n, total + range.lowerBound)
          for row in range {
            let label = targets[row]
            guard label >= 0, label < Int64(n) else {
              loss[row] = 0
              continue
            }
            let even = smoothing == 0 ? 0 : smoothing * Float(kernels.math.sum(px + row * n, n)) / Float(n)
            loss[row] = total[row] - (1 - smoothing) * px[row * n + Int(label)] - even
          }
        }
      }
    }
    return Tensor.record("softmaxCrossEntropy", loss, inputs: [self]) { gradient, _ in
      let dx = x.read { px in
        gradient.read { g in
          Tensor.build(x.shape) { dx in
            let total = lse.mutablePointer
            targets.withUnsafeBufferPointer { targets in
              parallelRanges(rows, minimum: Swift.max(1, 8192 / Swift.max(1, n))) { range in
                let i = range.lowerBound
                kernels.norm.cross_entropy_backward(
                  px + i * n, total + i, targets.baseAddress! + i, g + i, range.count, n, smoothing,
                  dx + i * n)
              }
            }
          }
        }
      }
      return [dx]
    }
  }

  /// Runs a function of rows along any axis, in float32.
  private func rowwise(_ name: StaticString, _ axis: Int, _ body: (Tensor) -> Tensor) -> Tensor {
    let axis = shape.axis(axis, name)
    let x = cast(to: .float32)
    let y = axis == rank - 1 ? body(x) : body(x.transposed(axis, rank - 1)).transposed(axis, rank - 1)
    return y.cast(to: dtype)
  }
}

extension CPU {
  /// y = function(x, y, rows) over ranges of rows of the last axis.
  static func rows(
    _ x: Tensor, _ function: (UnsafePointer<Float>, UnsafeMutablePointer<Float>, Int) -> Void
  ) -> Tensor {
    let n = Swift.max(1, x.shape[-1])
    return x.read { px in
      Tensor.build(x.shape) { y in
        parallelRanges(x.elementCount / n, minimum: Swift.max(1, 8192 / n)) { range in
          function(px + range.lowerBound * n, y + range.lowerBound * n, range.count)
        }
      }
    }
  }

  /// y = function(a, b, y, rows) over ranges of rows of the last axis.
  static func rows(
    _ a: Tensor, _ b: Tensor,
    _ function: (UnsafePointer<Float>, UnsafePointer<Float>, UnsafeMutablePointer<Float>, Int) -> Void
  ) -> Tensor {
    let n = Swift.max(1, a.shape[-1])
    return a.read { pa in
      b.read { pb in
        Tensor.build(a.shape) { y in
          parallelRanges(a.elementCount / n, minimum: Swift.max(1, 8192 / n)) { range in
            let i = range.lowerBound * n
            function(pa + i, pb + i, y + i, range.count)
          }
        }
      }
    }
  }
}
