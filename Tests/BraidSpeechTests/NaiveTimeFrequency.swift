import BraidNN
import BraidTensor
import Foundation

/// A block of MambAttention and its siblings in float64, one number at a time, from the equations.
struct NaiveTimeFrequency {
  typealias Sequence = [[Double]]

  let numbers: [String: [Double]]
  let shapes: [String: [Int]]
  let heads: Int
  let stateSize: Int

  init(_ store: ParameterStore, heads: Int, stateSize: Int) {
    numbers = Dictionary(
      uniqueKeysWithValues: store.values.map { ($0.key, $0.value.floats.map(Double.init)) })
    shapes = Dictionary(uniqueKeysWithValues: store.values.map { ($0.key, $0.value.shape.dimensions) })
    self.heads = heads
    self.stateSize = stateSize
  }

  func sigmoid(_ x: Double) -> Double { 1 / (1 + exp(-x)) }
  func silu(_ x: Double) -> Double { x * sigmoid(x) }
  func sum(_ count: Int, from start: Double = 0, _ term: (Int) -> Double) -> Double {
    var total = start
    for i in 0..<count { total += term(i) }
    return total
  }
  func added(_ x: Sequence, _ y: Sequence) -> Sequence { zip(x, y).map { a, b in zip(a, b).map(+) } }

  /// W of the named [outputs, inputs] applied to every position.
  func linear(_ x: Sequence, _ name: String, bias: String? = nil) -> Sequence {
    let w: [Double] = numbers[name]!, outputs = shapes[name]![0], inputs = shapes[name]![1]
    let b: [Double] = bias.map { numbers[$0]! } ?? [Double](repeating: 0, count: outputs)
    return x.map { (row: [Double]) -> [Double] in
      (0..<outputs).map { o in sum(inputs, from: b[o]) { w[o * inputs + $0] * row[$0] } }
    }
  }

  func layerNorm(_ row: [Double]) -> [Double] {
    let mean: Double = row.reduce(0, +) / Double(row.count)
    let variance: Double = sum(row.count) { (row[$0] - mean) * (row[$0] - mean) } / Double(row.count)
    return row.map { ($0 - mean) / (variance + 1e-5).squareRoot() }
  }

  func rmsNorm(_ x: Sequence, _ name: String) -> Sequence {
    let w: [Double] = numbers[name]!
    return x.map { (row: [Double]) -> [Double] in
      let square: Double = sum(row.count) { row[$0] * row[$0] } / Double(row.count)
      return row.indices.map { row[$0] / (square + 1e-5).squareRoot() * w[$0] }
    }
  }

  /// x + MHA(LN(x)).
  func attention(_ x: Sequence) -> Sequence {
    let gamma: [Double] = numbers["attention.layernorm.weight"]!
    let beta: [Double] = numbers["attention.layernorm.bias"]!
    let normed = x.map { (row: [Double]) -> [Double] in
      let plain = layerNorm(row)
      return plain.indices.map { plain[$0] * gamma[$0] + beta[$0] }
    }
    let qkv = linear(normed, "attention.attn.in_proj_weight", bias: "attention.attn.in_proj_bias")
    let channels = x[0].count, size = channels / heads
    var mixed = x
    for i in x.indices {
      for c in 0..<channels {
        let first = c / size * size
        let scores = x.indices.map { (j: Int) -> Double in
          let product: Double = sum(size) { qkv[i][first + $0] * qkv[j][channels + first + $0] }
          return exp(product / Double(size).squareRoot())
        }
        mixed[i][c] = sum(x.count) { scores[$0] * qkv[$0][2 * channels + c] } / scores.reduce(0, +)
      }
    }
    return added(
      x, linear(mixed, "attention.attn.out_proj.weight", bias: "attention.attn.out_proj.bias"))
  }

  /// SiLU of the causal depthwise convolution.
  func convolved(_ x: Sequence, _ name: String) -> Sequence {
    let w: [Double] = numbers[name + ".weight"]!, b: [Double] = numbers[name + ".bias"]!
    let size = shapes[name + ".weight"]![2]
    var y = x
    for t in x.indices {
      for c in x[t].indices {
        y[t][c] = silu(
          sum(size, from: b[c]) { i in
            let at = t + i - size + 1
            return at < 0 ? 0 : w[c * size + i] * x[at][c]
          })
      }
    }
    return y
  }

  func mamba(_ x: Sequence, _ at: String) -> Sequence {
    let xz = linear(x, at + "in_proj.weight"), inner = xz[0].count / 2
    let u = convolved(xz.map { Array($0[..<inner]) }, at + "conv1d")
    let selected = linear(u, at + "x_proj.weight"), rank = selected[0].count - 2 * stateSize
    let steps = linear(selected.map { Array($0[..<rank]) }, at + "dt_proj.weight", bias: at + "dt_proj.bias")
    let logs: [Double] = numbers[at + "A_log"]!, skip: [Double] = numbers[at + "D"]!
    var h = [Double](repeating: 0, count: inner * stateSize)
    var y = u
    for t in x.indices {
      for c in 0..<inner {
        let step: Double = log1p(exp(steps[t][c]))
        var total: Double = skip[c] * u[t][c]
        for n in 0..<stateSize {
          let i = c * stateSize + n
          h[i] = exp(-step * exp(logs[i])) * h[i] + step * u[t][c] * selected[t][rank + n]
          total += h[i] * selected[t][rank + stateSize + n]
        }
        y[t][c] = total * silu(xz[t][inner + c])
      }
    }
    return linear(y, at + "out_proj.weight")
  }

  func lstm(_ x: Sequence, _ at: String) -> Sequence {
    let size = shapes[at + "lstm.weight_hh_l0"]![1]
    var h = [Double](repeating: 0, count: size)
    var c = h
    let outputs = x.map { (row: [Double]) -> [Double] in
      let a = linear([row], at + "lstm.weight_ih_l0", bias: at + "lstm.bias_ih_l0")
      let b = linear([h], at + "lstm.weight_hh_l0", bias: at + "lstm.bias_hh_l0")
      let g = added(a, b)[0]
      for j in 0..<size {
        c[j] = sigmoid(g[size + j]) * c[j] + sigmoid(g[j]) * tanh(g[2 * size + j])
        h[j] = sigmoid(g[3 * size + j]) * tanh(c[j])
      }
      return h
    }
    return linear(outputs, at + "out_proj.weight", bias: at + "out_proj.bias")
  }

  /// Blocks of W [blocks, outputs, inputs] on the diagonal.
  func blocks(_ x: Sequence, _ name: String) -> Sequence {
    let w: [Double] = numbers[name + ".weight"]!, b: [Double] = numbers[name + ".bias"]!
    let size = shapes[name + ".weight"]![1]
    return x.map { (row: [Double]) -> [Double] in
      row.indices.map { o in sum(size, from: b[o]) { w[o * size + $0] * row[o / size * size + $0] } }
    }
  }

  /// The recurrence without its stabiliser: y = q C / max(|q n|, 1), which small gates allow.
  func matrixLSTM(_ x: Sequence, _ at: String) -> Sequence {
    let up = linear(x, at + "proj_up.weight", bias: at + "proj_up.bias"), inner = up[0].count / 2
    let v0 = up.map { Array($0[..<inner]) }
    let u = convolved(v0, at + "conv.conv")
    let q = blocks(u, at + "q_proj"), k = blocks(u, at + "k_proj"), v = blocks(v0, at + "v_proj")
    let all: Sequence = x.indices.map { q[$0] + k[$0] + v[$0] }
    let i = linear(all, at + "mlstm_cell.igate.weight", bias: at + "mlstm_cell.igate.bias")
    let f = linear(all, at + "mlstm_cell.fgate.weight", bias: at + "mlstm_cell.fgate.bias")
    let heads = i[0].count, size = inner / heads
    let gamma: [Double] = numbers[at + "mlstm_cell.outnorm.weight"]!
    let beta: [Double] = numbers[at + "mlstm_cell.outnorm.bias"]!,
      skip: [Double] = numbers[at + "learnable_skip"]!
    var memory = [Double](repeating: 0, count: inner * size)
    var normalizer = [Double](repeating: 0, count: inner)
    var y = u
    for t in x.indices {
      for head in 0..<heads {
        let first = head * size, forget = sigmoid(f[t][head]), add = exp(i[t][head])
        for a in first..<first + size {
          let key: Double = add * k[t][a] / Double(size).squareRoot()
          normalizer[a] = forget * normalizer[a] + key
          for b in 0..<size { memory[a * size + b] = forget * memory[a * size + b] + key * v[t][first + b] }
        }
        let scale: Double = max(abs(sum(size) { q[t][first + $0] * normalizer[first + $0] }), 1)
        let found = (0..<size).map { (b: Int) -> Double in
          sum(size) { q[t][first + $0] * memory[(first + $0) * size + b] } / scale
        }
        let normed = layerNorm(found)
        for b in 0..<size {
          let c = first + b
          let mixed: Double = normed[b] * (1 + gamma[c]) + beta[c] + u[t][c] * skip[c]
          y[t][c] = mixed * silu(up[t][inner + c])
        }
      }
    }
    return linear(y, at + "proj_down.weight", bias: at + "proj_down.bias")
  }

  /// One direction: mixer(norm(x)) + x.
  func layer(_ x: Sequence, _ at: String) -> Sequence {
    if numbers[at + "mixer.D"] != nil {
      return added(x, mamba(rmsNorm(x, at + "norm.weight"), at + "mixer."))
    }
    if numbers[at + "lstm.bias_hh_l0"] != nil { return added(x, lstm(rmsNorm(x, at + "norm.weight"), at)) }
    let gamma: [Double] = numbers[at + "norm.weight"]!, beta: [Double] = numbers[at + "norm.bias"]!
    let normed = x.map { (row: [Double]) -> [Double] in
      let plain = layerNorm(row)
      return plain.indices.map { plain[$0] * (1 + gamma[$0]) + beta[$0] }
    }
    return added(x, matrixLSTM(normed, at + "layer."))
  }

  /// x + Wᵀ [f(x), b(x)] + bias, behind the attention where there is one.
  func mixed(_ x: Sequence, _ blocks: String, _ projection: String) -> Sequence {
    let x = numbers["attention.layernorm.weight"] == nil ? x : attention(x)
    let along = layer(x, blocks + ".forward_blocks.0.")
    let against: Sequence = layer(x.reversed(), blocks + ".backward_blocks.0.").reversed()
    let w: [Double] = numbers[projection + ".weight"]!, b: [Double] = numbers[projection + ".bias"]!
    let channels = x[0].count
    var y = x
    for t in x.indices {
      let both: [Double] = along[t] + against[t]
      for o in 0..<channels {
        y[t][o] = sum(both.count, from: x[t][o] + b[o]) { w[$0 * channels + o] * both[$0] }
      }
    }
    return y
  }

  /// A map [time][frequency][channels] through the block.
  func block(_ map: [Sequence], mixer: String) -> [Sequence] {
    var map = map
    for f in map[0].indices {
      let column = mixed(map.map { $0[f] }, "time_\(mixer)", "tlinear")
      for t in map.indices { map[t][f] = column[t] }
    }
    return map.map { mixed($0, "freq_\(mixer)", "flinear") }
  }
}
