import BraidNN
import BraidTensor

/// Queries, keys and values [B, L, heads, width] of the delta rule, with its gates.
struct DeltaHeads {
  /// q and k may have fewer heads than v; neighbouring value heads then share one.
  var q, k, v: Tensor
  /// [B, L, H]
  var beta: Tensor
  /// [B, L, H], [B, L, H, K] or nil.
  var logDecay: Tensor?

  /// q and k divided by their norms over the last axis.
  mutating func normalizeKeys() {
    q = q.unitNorm()
    k = k.unitNorm()
  }

  /// The outputs [B, L, H, V]; the state [B, H, K, V] moves on.
  func callAsFunction(state: inout Tensor) -> Tensor {
    let (output, last) = deltaRule(q, k, v, beta: beta, logDecay: logDecay, initialState: state)
    state = last
    return output
  }

  /// The same from a zero state, position by position.
  func reference() -> Tensor {
    let (batch, length, heads, group) = (v.shape[0], v.shape[1], v.shape[2], v.shape[2] / k.shape[2])
    let (keys, values) = (k.shape[3], v.shape[3])
    let scale = 1 / Float(keys).squareRoot()
    func perValueHead(_ x: Tensor, _ t: Int) -> Tensor {
      let own = x.selected(axis: 1, t).reshaped(batch, heads / group, 1, keys)
      return own.broadcast(to: [batch, heads / group, group, keys]).reshaped(batch, heads, keys, 1)
    }
    var state = Tensor.zeros([batch, heads, keys, values])
    let outputs = (0..<length).map { t in
      let (query, key) = (perValueHead(q, t) * scale, perValueHead(k, t))
      if let logDecay {
        let decay = logDecay.selected(axis: 1, t).exp()
        state = state * (decay.rank == 2 ? decay.reshaped(batch, heads, 1, 1) : decay.unsqueezed(-1))
      }
      let predicted = (state * key).sum(axes: [2])
      let update = (v.selected(axis: 1, t) - predicted) * beta.selected(axis: 1, t).unsqueezed(-1)
      state = state + key * update.unsqueezed(2)
      return (state * query).sum(axes: [2])
    }
    return Tensor.stacked(outputs, axis: 1)
  }
}

extension Tensor {
  /// The elements divided by their Euclidean norm over the last axis: x / sqrt(|x|^2 + epsilon).
  func unitNorm(epsilon: Float = 1e-6) -> Tensor {
    let width = Float(shape[-1])
    return rmsNorm(weight: .full([shape[-1]], 1 / width.squareRoot()), epsilon: epsilon / width)
  }

  /// [batch, length, heads * width] as [batch, length, heads, width].
  func heads(_ width: Int) -> Tensor { reshaped(shape[0], shape[1], -1, width) }

  /// [batch, length, heads, width] as [batch, length, heads * width].
  func joinedHeads() -> Tensor { reshaped(shape[0], shape[1], -1) }
}
