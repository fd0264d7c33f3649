extension CPU {
  /// The largest elements of windows and, where asked for, their flat positions within each map.
  static func maxPool(
    _ x: Tensor, _ windows: [PoolingWindow], _ target: Shape, keepingPositions: Bool
  ) -> (values: Tensor, positions: Tensor?) {
    let channels = x.shape[-1]
    let w = [PoolingWindow](repeating: .single, count: 3 - windows.count) + windows
    let mapSize = w[0].size * w[1].size * w[2].size * channels
    let positions = keepingPositions ? Tensor.uninitialized(target, dtype: .int32) : nil
    let rows = target[0] * w[0].outputs * w[1].outputs
    let rowLength = w[2].outputs * channels
    let window = w.reduce(1) { $0 * $1.kernel }
    let values = x.read { x in
      Tensor.build(target) { y in
        let indices = positions?.storage.pointer.assumingMemoryBound(to: Int32.self)
        parallelRanges(rows, minimum: Swift.max(1, 16_384 / Swift.max(1, rowLength * window))) { range in
          for row in range {
            let (plane, i1) = row.quotientAndRemainder(dividingBy: w[1].outputs)
            let (map, i0) = plane.quotientAndRemainder(dividingBy: w[0].outputs)
            let source = x + map * mapSize
            for i2 in 0..<w[2].outputs {
              let out = y + row * rowLength + i2 * channels
              let at = indices.map { $0 + row * rowLength + i2 * channels }
              var isFirst = true
              for a in w[0].inputs(of: i0) {
                for b in w[1].inputs(of: i1) {
                  for c in w[2].inputs(of: i2) {
                    let pixel = (a * w[1].size + b) * w[2].size + c
                    let from = source + pixel * channels
                    if isFirst {
                      out.update(from: from, count: channels)
                      at?.update(repeating: Int32(truncatingIfNeeded: pixel), count: channels)
                      isFirst = false
                    } else if let at {
                      for k in 0..<channels where from[k] > out[k] || (from[k].isNaN && !out[k].isNaN) {
                        out[k] = from[k]
                        at[k] = Int32(truncatingIfNeeded: pixel)
                      }
                    } else {
                      for k in 0..<channels { out[k] = out[k] >= from[k] || out[k].isNaN ? out[k] : from[k] }
                    }
                  }
                }
              }
              // A window wholly inside the padding (possible with dilation only).
              if isFirst {
                out.update(repeating: -.infinity, count: channels)
                at?.update(repeating: -1, count: channels)
              }
            }
          }
        }
      }
    }
    return (values, positions)
  }

  /// The gradient of the pooled map, added up where the largest elements stood: a task owns maps or single channels'
  /// runs, so that the order of additions is fixed.
  static func maxPoolGradient(
    _ gradient: Tensor, _ positions: Tensor, _ windows: [PoolingWindow], _ shape: Shape
  ) -> Tensor {
    let channels = shape[-1]
    let mapSize = shape.elementCount / Swift.max(1, shape[0])
    let outputs = gradient.elementCount / Swift.max(1, shape[0] * channels)
    let parts = shape[0] > 1 ? 1 : Swift.max(1, Swift.min(4, channels / 16))
    let dx = Tensor.zeros(shape)
    positions.read(as: Int32.self) { at in
      gradient.read { g in
        dx.overwrite(as: Float.self) { dx in
          let work = Swift.max(1, outputs * channels / parts)
          parallelRanges(shape[0] * parts, minimum: Swift.max(1, 16_384 / work)) { tasks in
            for task in tasks {
              let (map, part) = task.quotientAndRemainder(dividingBy: parts)
              let owned = channels * part / parts..<channels * (part + 1) / parts
              for output in 0..<outputs {
                let start = (map * outputs + output) * channels
                for k in owned where at[start + k] >= 0 {
                  dx[map * mapSize + Int(at[start + k]) * channels + k] += g[start + k]
                }
              }
            }
          }
        }
      }
    }
    return dx
  }
}
