import CBraidKernels

/// Normalisation of [batch, rows, channels] over the rows and the channels of a group.
struct GroupedNorm: Sendable {
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
    sums(of: 1) { first, rows, image, target in body(first * channels, rows, image, target) }
  }

  /// As above for `count` sums at once, from the first row of a run on: [batch, count * channels].
  func sums(
    of count: Int, _ body: (_ firstRow: Int, _ rows: Int, _ image: Int, UnsafeMutablePointer<Float>) -> Void
  ) -> [Float] {
    let width = count * channels
    let partial = Tensor.zeros([batch, pieces, width])
    let all = partial.mutablePointer
    each { first, rows, image, piece in body(first, rows, image, all + (image * pieces + piece) * width) }
    var totals = [Float](repeating: 0, count: batch * width)
    let math = CPU.kernels.pointee.math
    totals.withUnsafeMutableBufferPointer { totals in
      for image in 0..<batch {
        math.column_sum(
          all + image * pieces * width, pieces, width, width, totals.baseAddress! + image * width)
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

  /// Mean and biased variance per image and group: those of runs of rows, while they are in the cache, joined.
  func statistics(_ x: UnsafePointer<Float>) -> (mean: [Float], variance: [Float]) {
    let kernels = CPU.kernels.pointee
    let partial = Tensor.zeros([batch, pieces, 2 * channels])
    let all = partial.mutablePointer
    each { first, rows, image, piece in
      let means = all + (image * pieces + piece) * 2 * channels
      let from = x + first * channels
      kernels.math.column_sum(from, rows, channels, channels, means)
      for channel in 0..<channels { means[channel] /= Float(Swift.max(1, rows)) }
      kernels.norm.column_deviation(from, rows, channels, means, means + channels)
    }
    var mean: [Float] = []
    var variance: [Float] = []
    for group in 0..<batch * groups {
      let (image, first) = (group / groups, group % groups * width)
      func total(_ value: (_ rows: Double, _ mean: Double, _ deviation: Double) -> Double) -> Double {
        var sum = 0.0
        for piece in 0..<pieces {
          let at = all + (image * pieces + piece) * 2 * channels + first
          let rows = Double(Swift.max(0, Swift.min(pieceRows, self.rows - piece * pieceRows)))
          for i in 0..<width { sum += value(rows, Double(at[i]), Double(at[channels + i])) }
        }
        return sum / Double(count)
      }
      let centre = total { rows, mean, _ in rows * mean }
      mean.append(Float(centre))
      variance.append(Float(total { $2 + $0 * ($1 - centre) * ($1 - centre) }))
    }
    return withExtendedLifetime(partial) { (mean, variance) }
  }

  /// Runs `body` on runs of rows of every image.
  func each(_ body: (_ firstRow: Int, _ rows: Int, _ image: Int, _ piece: Int) -> Void) {
    parallelFor(batch * pieces) { task in
      let (image, piece) = task.quotientAndRemainder(dividingBy: pieces)
      let first = piece * pieceRows
      body(image * rows + first, Swift.max(0, Swift.min(pieceRows, rows - first)), image, piece)
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
            each { first, rows, image, _ in
              let start = first * channels
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
                each { first, rows, image, _ in
                  let start = first * channels
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
