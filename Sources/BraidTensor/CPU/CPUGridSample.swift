extension CPU {
  static func gridSample(_ x: Tensor, _ grid: Tensor, _ rule: SamplingRule) -> Tensor {
    let channels = x.shape[3]
    let points = grid.shape[1] * grid.shape[2]
    let mapSize = rule.height * rule.width * channels
    let blend = kernels.pointee.image.blend!
    let target: Shape = [grid.shape[0], grid.shape[1], grid.shape[2], channels]
    return x.read { x in
      grid.read { grid in
        Tensor.build(target) { y in
          let work = Swift.max(1, rule.tapCount * channels)
          parallelRanges(target[0] * points, minimum: Swift.max(1, 16_384 / work)) { range in
            withTaps(rule) { taps, pixels, weights in
              for point in range {
                let map = x + point / points * mapSize
                rule.fill(taps, grid[2 * point], grid[2 * point + 1])
                var count = 0
                for t in 0..<rule.tapCount where taps[t].index >= 0 {
                  pixels[count] = map + taps[t].index * channels
                  weights[count] = taps[t].weight
                  count += 1
                }
                blend(pixels, weights, count, y + point * channels, channels)
              }
            }
          }
        }
      }
    }
  }

  /// The gradient of the map. A task owns whole maps, or a band of rows of one, and takes all points in order.
  static func gridSampleInputGradient(
    _ gradient: Tensor, _ grid: Tensor, _ rule: SamplingRule, _ shape: Shape
  ) -> Tensor {
    let channels = shape[3]
    let points = grid.shape[1] * grid.shape[2]
    let pixelCount = rule.height * rule.width
    let bands = shape[0] > 1 ? 1 : Swift.max(1, Swift.min(4, points * channels / 16_384))
    let axpy = kernels.pointee.math.axpy!
    let dx = Tensor.zeros(shape)
    gradient.read { g in
      grid.read { grid in
        dx.overwrite(as: Float.self) { dx in
          parallelRanges(shape[0] * bands, minimum: 1) { tasks in
            withTaps(rule) { taps, _, _ in
              for task in tasks {
                let (map, band) = task.quotientAndRemainder(dividingBy: bands)
                let owned = pixelCount * band / bands..<pixelCount * (band + 1) / bands
                for point in map * points..<(map + 1) * points {
                  rule.fill(taps, grid[2 * point], grid[2 * point + 1])
                  let from = g + point * channels
                  for t in 0..<rule.tapCount where owned.contains(taps[t].index) {
                    let to = dx + (map * pixelCount + taps[t].index) * channels
                    if channels < 16 {
                      for c in 0..<channels { to[c] += taps[t].weight * from[c] }
                    } else {
                      axpy(taps[t].weight, from, to, channels)
                    }
                  }
                }
              }
            }
          }
        }
      }
    }
    return dx
  }

  static func gridSampleGridGradient(
    _ gradient: Tensor, _ x: Tensor, _ grid: Tensor, _ rule: SamplingRule
  ) -> Tensor {
    let channels = x.shape[3]
    let points = grid.shape[1] * grid.shape[2]
    let mapSize = rule.height * rule.width * channels
    let dot = kernels.pointee.math.dot!
    let shape = grid.shape
    return x.read { x in
      gradient.read { g in
        grid.read { grid in
          Tensor.build(shape) { out in
            let work = Swift.max(1, rule.tapCount * channels)
            parallelRanges(shape[0] * points, minimum: Swift.max(1, 16_384 / work)) { range in
              withTaps(rule) { taps, _, _ in
                for point in range {
                  let map = x + point / points * mapSize
                  rule.fill(taps, grid[2 * point], grid[2 * point + 1])
                  var (sumX, sumY) = (0.0, 0.0)
                  for t in 0..<rule.tapCount where taps[t].index >= 0 {
                    let product = dot(map + taps[t].index * channels, g + point * channels, channels)
                    sumX += Double(taps[t].byX) * product
                    sumY += Double(taps[t].byY) * product
                  }
                  out[2 * point] = Float(sumX)
                  out[2 * point + 1] = Float(sumY)
                }
              }
            }
          }
        }
      }
    }
  }

  /// Room for the taps of one point.
  @inline(__always)
  private static func withTaps(
    _ rule: SamplingRule,
    _ body: (
      _ taps: UnsafeMutablePointer<SamplingRule.Tap>, _ pixels: UnsafeMutablePointer<UnsafePointer<Float>?>,
      _ weights: UnsafeMutablePointer<Float>
    ) -> Void
  ) {
    withUnsafeTemporaryAllocation(of: SamplingRule.Tap.self, capacity: 16) { taps in
      taps.initialize(repeating: SamplingRule.Tap())
      withUnsafeTemporaryAllocation(of: UnsafePointer<Float>?.self, capacity: 16) { pixels in
        withUnsafeTemporaryAllocation(of: Float.self, capacity: 16) { weights in
          body(taps.baseAddress!, pixels.baseAddress!, weights.baseAddress!)
        }
      }
    }
  }
}
