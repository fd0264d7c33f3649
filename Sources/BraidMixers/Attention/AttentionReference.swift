import BraidTensor

/// Softmax attention written out, one query after the other.
enum AttentionReference {
  /// As `scaledDotProductAttention`, where query t sees the keys that `visible` names.
  ///
  /// - Parameter bias: [heads, keys] of a query and the keys that it sees.
  static func attend(
    _ queries: Tensor, _ keys: Tensor, _ values: Tensor, scale: Float, softCap: Float? = nil,
    sinks: Tensor? = nil, bias: ((_ query: Int, _ seen: [Int]) -> Tensor)? = nil,
    visible: (_ query: Int) -> [Int]
  ) -> Tensor {
    let (batch, heads, keyHeads) = (queries.shape[0], queries.shape[2], keys.shape[2])
    let group = heads / keyHeads
    let outputs = (0..<queries.shape[1]).map { t in
      let seen = visible(t)
      if seen.isEmpty { return Tensor.zeros([batch, heads, values.shape[3]]) }
      let q = queries.selected(axis: 1, t).reshaped(batch, keyHeads, group, queries.shape[3])
      let k = rows(keys, seen).permuted(0, 2, 3, 1)  // [B, Hk, D, n]
      let v = rows(values, seen).permuted(0, 2, 1, 3)  // [B, Hk, n, Dv]
      var scores = matmul(q, k) * scale
      if let softCap { scores = (scores / softCap).tanh() * softCap }
      if let bias { scores = scores + bias(t, seen).reshaped(keyHeads, group, seen.count) }
      if let sinks {
        let sink = sinks.reshaped(1, keyHeads, group, 1).broadcast(to: [batch, keyHeads, group, 1])
        scores = Tensor.concatenated([scores, sink], axis: -1)
      }
      let probabilities = scores.softmax(axis: -1).sliced(axis: -1, 0..<seen.count)
      return matmul(probabilities, v).reshaped(batch, heads, values.shape[3])
    }
    return Tensor.stacked(outputs, axis: 1)
  }

  private static func rows(_ x: Tensor, _ positions: [Int]) -> Tensor {
    if positions.last! - positions[0] == positions.count - 1 {
      return x.sliced(axis: 1, positions[0]..<positions.last! + 1)
    }
    return x.indexSelected(axis: 1, Tensor(positions.map(Int64.init)))
  }
}
