import BraidTensor

/// What a test-time-training layer learns while it reads: one or two linear layers for each head.
///
/// Inside a mini-batch all gradients are those at the weights before it, so that its positions are computed
/// together:
///
///     W_t = exp(G_t) W - η_t Σ_{s≤t} exp(G_t - G_s) ∇_W ℓ(f_W(k_s), v_s);   o_t = f_{W_t}(q_t)
///
/// with G the sum of log decays from the mini-batch's first position; behind the last, W becomes W_t.
struct FastWeightMemory {
  /// How outputs and losses are normalised.
  struct Normalization {
    /// Weight and bias [H, 1, D].
    var weight, bias: Tensor
    var epsilon: Float
  }

  /// [B, H, inputs, outputs] for each layer, a last row of biases included where there are biases.
  var weights: [Tensor]
  /// Sums of gradients since the mini-batch began, as `weights`.
  var changes: [Tensor]
  /// [B, H, 1, 1]: the sum of log decays since then; nil where nothing is forgotten.
  var decay: Tensor?
  /// Positions of the mini-batch that have been seen.
  var position: Int
  let miniBatch: Int
  let hasBias: Bool
  /// With it, ℓ = |LN(f(k)) - (v - k)|² / 2 and the output is o + LN(o); without, ℓ = |f(k) - v|² / 2.
  let normalization: Normalization?

  /// The outputs [B, H, n, D] for the next positions, which stay within a mini-batch; the memory moves on.
  ///
  /// - Parameters:
  ///   - q, k, v: [B, H, n, D].
  ///   - rate: η, [B, H, n, 1].
  ///   - logDecay: [B, H, n, 1], or nil.
  mutating func read(_ q: Tensor, _ k: Tensor, _ v: Tensor, rate: Tensor, logDecay: Tensor?) -> Tensor {
    let count = q.shape[2]
    precondition(position + count <= miniBatch, "FastWeightMemory: \(count) positions behind \(position)")
    let mask = Tensor.build([count, count]) { out in
      for i in 0..<count * count { out[i] = i % count <= i / count ? 1 : 0 }
    }
    let (inputs, gradients) = written(k, v)
    let since = logDecay?.cumulativeSum(axis: 2)
    let spans =
      since.map { Tensor.minimum($0 - $0.transposed(), Tensor.zeros([1])).exp() * mask } ?? mask
    var h = q
    for i in weights.indices {
      let x = extended(h)
      var old = matmul(x, weights[i])
      var change = matmul(x, changes[i])
      if let since, let decay {
        old = old * (since + decay).exp()
        change = change * since.exp()
      }
      change = change + matmul(matmul(x, inputs[i].transposed()) * spans, gradients[i])
      let y = old - rate * change
      h = i + 1 < weights.count ? y.geluTanh() : y
    }
    let last = since?.sliced(axis: 2, count - 1..<count)
    for i in weights.indices {
      if let since, let last {
        changes[i] =
          changes[i] * last.exp() + matmul((inputs[i] * (last - since).exp()).transposed(), gradients[i])
      } else {
        changes[i] = changes[i] + matmul(inputs[i].transposed(), gradients[i])
      }
    }
    if let last { decay = decay! + last }
    finish(count, rate: rate.sliced(axis: 2, count - 1..<count))
    return normalization.map { normalized(h, $0) } ?? h
  }

  /// `read` for one position, by the weights W_t themselves.
  mutating func readLiterally(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, rate: Tensor, logDecay: Tensor?
  ) -> Tensor {
    let (inputs, gradients) = written(k, v)
    if let logDecay { decay = decay! + logDecay }
    var h = q
    for i in weights.indices {
      if let logDecay { changes[i] = changes[i] * logDecay.exp() }
      changes[i] = changes[i] + matmul(inputs[i].transposed(), gradients[i])
      let old = decay.map { weights[i] * $0.exp() } ?? weights[i]
      let y = matmul(extended(h), old - rate * changes[i])
      h = i + 1 < weights.count ? y.geluTanh() : y
    }
    finish(1, rate: rate)
    return normalization.map { normalized(h, $0) } ?? h
  }

  /// Moves on, into the next mini-batch where this one has ended.
  private mutating func finish(_ count: Int, rate: Tensor) {
    position += count
    guard position == miniBatch else { return }
    position = 0
    for i in weights.indices {
      let old = decay.map { weights[i] * $0.exp() } ?? weights[i]
      weights[i] = old - rate * changes[i]
      changes[i] = .zeros(weights[i].shape)
    }
    if let decay { self.decay = .zeros(decay.shape) }
  }

  /// x with a last channel of ones where there are biases.
  private func extended(_ x: Tensor) -> Tensor {
    guard hasBias else { return x }
    return Tensor.concatenated([x, .ones([x.shape[0], x.shape[1], x.shape[2], 1])], axis: 3)
  }

  /// What each layer reads at k, and the loss's gradient by what it makes of it, at the weights before the
  /// mini-batch.
  private func written(_ k: Tensor, _ v: Tensor) -> (inputs: [Tensor], gradients: [Tensor]) {
    var inputs: [Tensor] = []
    var outputs: [Tensor] = []
    var h = k
    for weight in weights {
      inputs.append(extended(h))
      outputs.append(matmul(inputs.last!, weight))
      h = outputs.last!.geluTanh()
    }
    var gradients = [lossGradient(outputs.last!, k, v)]
    for i in (1..<weights.count).reversed() {
      let width = outputs[i - 1].shape[3]
      let back = matmul(gradients[0], weights[i].sliced(axis: 2, 0..<width).transposed())
      gradients.insert(back * geluSlope(outputs[i - 1]), at: 0)
    }
    return (inputs, gradients)
  }

  private func lossGradient(_ z: Tensor, _ k: Tensor, _ v: Tensor) -> Tensor {
    guard let norm = normalization else { return z - v }
    let centred = z - z.mean(axes: [3], keepingAxes: true)
    let deviation = (centred.squared().mean(axes: [3], keepingAxes: true) + norm.epsilon).squareRoot()
    let unit = centred / deviation
    let d = (norm.weight * unit + norm.bias - (v - k)) * norm.weight
    let along = (d * unit).mean(axes: [3], keepingAxes: true)
    return (d - d.mean(axes: [3], keepingAxes: true) - unit * along) / deviation
  }

  private func normalized(_ o: Tensor, _ norm: Normalization) -> Tensor {
    o + o.layerNorm(epsilon: norm.epsilon) * norm.weight + norm.bias
  }

  /// The derivative of `geluTanh`.
  private func geluSlope(_ z: Tensor) -> Tensor {
    let c: Float = 0.797_884_56  // sqrt(2 / pi)
    let square = z.squared()
    let t = (z * (square * 0.044715 + 1) * c).tanh()
    return (t + 1) * 0.5 + z * (1 - t.squared()) * (square * (3 * 0.044715) + 1) * (0.5 * c)
  }
}
