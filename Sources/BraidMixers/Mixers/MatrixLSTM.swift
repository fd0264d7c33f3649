import BraidNN
import BraidTensor

/// The LSTM with a matrix memory of xLSTM (mLSTM), as a layer with its convolution and gate.
///
///     [x, z] = W_up h;   u = SiLU(causal depthwise convolution of x);   q, k = W_q u, W_k u;   v = W_v x
///     ĩ, f̃ = W_i [q, k, v] + b_i, W_f [q, k, v] + b_f                                       one number a head
///     m_t = max(log σ(f̃_t) + m_{t-1}, ĩ_t);   f'_t = exp(log σ(f̃_t) + m_{t-1} - m_t);   i'_t = exp(ĩ_t - m_t)
///     C_t = f'_t C_{t-1} + i'_t k_t v_tᵀ / √d;   n_t = f'_t n_{t-1} + i'_t k_t / √d
///     y_t = q_t C_t / (max(|q_t n_t|, exp(-m_t)) + 1e-6)
///     out = W_down ((norm(y) + skip ⊙ u) ⊙ SiLU(z))
///
/// h [batch, length, C]. W_q, W_k and W_v are block-diagonal; the norm is a layer norm of each head, whose weight is
/// stored as its distance from 1. m keeps exponents small and does not change y. Names as in the published code of
/// Vision-LSTM and xLSTM-SENet.
/// Source: Beck et al., "xLSTM: extended long short-term memory", 2024, section 2.3 and appendix A.2.
public struct MatrixLSTM: CausalMixer {
  public struct Configuration: Codable, Hashable, Sendable {
    public var channels: Int
    /// Channels between W_up and W_down.
    public var innerChannels: Int
    public var heads: Int
    /// Channels of a block of W_q, W_k and W_v.
    public var blockSize: Int
    /// Positions that the convolution sees.
    public var kernelSize: Int
    /// Whether W_up, W_q, W_k, W_v and W_down have a bias.
    public var bias: Bool
    public var normEpsilon: Float

    /// - Parameter innerChannels: 2 channels where nil.
    public init(
      channels: Int, innerChannels: Int? = nil, heads: Int = 4, blockSize: Int = 4, kernelSize: Int = 4,
      bias: Bool = true, normEpsilon: Float = 1e-5
    ) {
      self.channels = channels
      self.innerChannels = innerChannels ?? 2 * channels
      self.heads = heads
      self.blockSize = blockSize
      self.kernelSize = kernelSize
      self.bias = bias
      self.normEpsilon = normEpsilon
    }

    var headSize: Int { innerChannels / heads }

    func validate() throws {
      try MixerError.require(
        min(channels, innerChannels, heads, blockSize, kernelSize) > 0
          && max(channels, innerChannels) < 1 << 24
          && kernelSize < 1 << 16 && normEpsilon >= 0, MatrixLSTM.name,
        "\(channels) channels, \(innerChannels) inside, \(heads) heads, blocks of \(blockSize), kernel "
          + "\(kernelSize), norm epsilon \(normEpsilon)")
      try MixerError.require(
        innerChannels % heads == 0 && innerChannels % blockSize == 0, MatrixLSTM.name,
        "\(innerChannels) channels inside do not fall into \(heads) heads and blocks of \(blockSize)")
    }
  }

  public static let name = "mlstm"
  public static let examples = [
    Configuration(channels: 8, heads: 2),
    Configuration(channels: 6, innerChannels: 9, heads: 3, blockSize: 3, kernelSize: 1, bias: false),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.channels }
  let input: Linear
  let kernel: Parameter
  let kernelBias: Parameter
  let queries, keys, values: BlockDiagonal
  let inputGate, forgetGate: Linear
  let normWeight, normBias: Parameter
  let skip: Parameter
  let output: Linear

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try c.validate()
    configuration = c
    let inner = c.innerChannels
    input = Linear(scope("proj_up"), inputs: c.channels, outputs: 2 * inner, bias: c.bias)
    kernel = scope("conv.conv").parameter("weight", [inner, 1, c.kernelSize], init: .fanIn(c.kernelSize))
    kernelBias = scope("conv.conv").parameter("bias", [inner], init: .fanIn(c.kernelSize))
    queries = BlockDiagonal(scope("q_proj"), channels: inner, block: c.blockSize, bias: c.bias)
    keys = BlockDiagonal(scope("k_proj"), channels: inner, block: c.blockSize, bias: c.bias)
    values = BlockDiagonal(scope("v_proj"), channels: inner, block: c.blockSize, bias: c.bias)
    let cell = scope("mlstm_cell")
    inputGate = Linear(
      cell("igate"), inputs: 3 * inner, outputs: c.heads, init: .zeros, biasInit: .normal(0.1))
    forgetGate = Linear(
      cell("fgate"), inputs: 3 * inner, outputs: c.heads, init: .zeros,
      biasInit: .custom { shape, _ in
        // From 3 to 6: heads that forget within some 20 positions to such that remember some 400.
        let last = Float(max(1, shape[0] - 1))
        return Tensor((0..<shape[0]).map { 3 + 3 * Float($0) / last }, shape: shape)
      })
    normWeight = cell("outnorm").parameter("weight", [inner], init: .zeros)
    normBias = cell("outnorm").parameter("bias", [inner], init: .zeros)
    skip = scope.parameter("learnable_skip", [inner], init: .ones)
    output = Linear(scope("proj_down"), inputs: inner, outputs: c.channels, bias: c.bias)
  }

  /// What the recurrence takes: q, k and v [..., H, d], ĩ and log σ(f̃) [..., H].
  private func recurrent(_ u: Tensor, _ x: Tensor) -> (
    q: Tensor, k: Tensor, v: Tensor, input: Tensor, forget: Tensor
  ) {
    let c = configuration
    let (q, k, v) = (queries(u), keys(u), values(x))
    let all = Tensor.concatenated([q, k, v], axis: -1)
    let heads = Shape(u.shape.dimensions.dropLast() + [c.heads, c.headSize])
    return (
      q.reshaped(heads), k.reshaped(heads) * (1 / Float(c.headSize).squareRoot()), v.reshaped(heads),
      inputGate(all), -(-forgetGate(all)).softplus()
    )
  }

  /// The output of the recurrence's y [batch, length, H, d].
  private func finished(_ y: Tensor, u: Tensor, gate z: Tensor) -> Tensor {
    let normed = y.layerNorm(epsilon: configuration.normEpsilon).reshaped(u.shape)
    let scaled = normed * (1 + normWeight.value) + normBias.value
    return output((scaled + u * skip.value) * z.silu())
  }

  public func reference(_ x: Tensor) -> Tensor {
    let (c, length) = (configuration, x.shape[1])
    let parts = input(x).split(into: 2, axis: -1)
    let padded = parts[0].padded(axis: 1, before: c.kernelSize - 1)
    let u = Tensor.stacked(
      (0..<length).map { t in
        var sum = kernelBias.value
        for i in 0..<c.kernelSize {
          sum = sum + padded.selected(axis: 1, t + i) * kernel.value.selected(axis: 2, i).squeezed(-1)
        }
        return sum.silu()
      }, axis: 1)
    let (q, k, v, i, f) = recurrent(u, parts[0])
    var memory = Tensor.zeros([x.shape[0], c.heads, c.headSize, c.headSize])
    var normalizer = Tensor.zeros([x.shape[0], c.heads, c.headSize])
    var m = Tensor.zeros([x.shape[0], c.heads])
    let outputs = (0..<length).map { t in
      let (q, k, v) = (q.selected(axis: 1, t), k.selected(axis: 1, t), v.selected(axis: 1, t))
      let kept = f.selected(axis: 1, t) + m
      let next = Tensor.maximum(kept, i.selected(axis: 1, t)).detached
      let forget = (kept - next).exp(), add = (i.selected(axis: 1, t) - next).exp()
      let key = k * add.unsqueezed(-1)
      memory = memory * forget.unsqueezed(-1).unsqueezed(-1) + key.unsqueezed(-1) * v.unsqueezed(-2)
      normalizer = normalizer * forget.unsqueezed(-1) + key
      m = next
      let size = Tensor.maximum((q * normalizer).sum(axes: [-1]).absolute(), (-next).exp()) + 1e-6
      return (q.unsqueezed(-1) * memory).sum(axes: [-2]) / size.unsqueezed(-1)
    }
    return finished(Tensor.stacked(outputs, axis: 1), u: u, gate: parts[1])
  }

  public func initialState(batch: Int) -> MixerState {
    let c = configuration
    return MixerState([
      "convolution": .zeros([batch, c.kernelSize - 1, c.innerChannels]),
      // The normalizer is the memory's last column.
      "memory": .zeros([batch, c.heads, c.headSize, c.headSize + 1]),
      "stabilizer": .zeros([batch, c.heads]),
    ])
  }

  public func prefill(_ x: Tensor, state: inout MixerState) -> Tensor {
    let c = configuration, length = x.shape[1]
    let parts = input(x).split(into: 2, axis: -1)
    let (u, past) = causalConv1d(
      parts[0], kernel.value, bias: kernelBias.value, state: state["convolution"], activation: .silu)
    let (q, k, v, i, f) = recurrent(u, parts[0])
    let start = state["stabilizer"]
    // y does not depend on m, so that m needs no gradient, but for the one that the memory's scale hangs on.
    let m = Self.stabilizers(forget: f, input: i, start: start)
    let before =
      length == 1
      ? start.unsqueezed(1)
      : Tensor.concatenated([start.unsqueezed(1), m.sliced(axis: 1, 0..<length - 1)], axis: 1)
    let ones = Tensor.ones([1, 1, 1, 1]).broadcast(to: Shape(v.shape.dimensions.dropLast() + [1]))
    let (y, last) = decayedLinearAttention(
      q, k * (i - m).exp().unsqueezed(-1), Tensor.concatenated([v, ones.contiguous()], axis: -1),
      logDecay: f + before - m, initialState: state["memory"])
    let found = y.split([c.headSize, 1], axis: -1)
    let size = Tensor.maximum(found[1].absolute(), (-m).exp().unsqueezed(-1)) + 1e-6
    state["convolution"] = past
    state["memory"] = last
    state["stabilizer"] = m.selected(axis: 1, length - 1).contiguous()
    state.position += length
    return finished(found[0] / size, u: u, gate: parts[1])
  }

  /// m [batch, length, H] of log σ(f̃) and ĩ.
  private static func stabilizers(forget: Tensor, input: Tensor, start: Tensor) -> Tensor {
    let (batch, length, heads) = (input.shape[0], input.shape[1], input.shape[2])
    return forget.read { f in
      input.read { i in
        start.read { start in
          Tensor.build(input.shape) { m in
            for row in 0..<batch * length {
              for head in 0..<heads {
                let at = row * heads + head
                let before = row % length == 0 ? start[row / length * heads + head] : m[at - heads]
                m[at] = max(f[at] + before, i[at])
              }
            }
          }
        }
      }
    }
  }
}

/// A linear layer whose matrix consists of square blocks on its diagonal: weight [blocks, outputs, inputs].
struct BlockDiagonal: Sendable {
  let weight: Parameter
  let bias: Parameter?

  init(_ scope: ParameterScope, channels: Int, block: Int, bias: Bool) {
    weight = scope.parameter("weight", [channels / block, block, block], init: .fanIn(block))
    self.bias = bias ? scope.parameter("bias", [channels], init: .zeros) : nil
  }

  /// [batch, length, channels] to the same.
  func callAsFunction(_ x: Tensor) -> Tensor {
    let (blocks, size) = (weight.shape[0], weight.shape[1])
    return conv1d(x, weight.value.reshaped(blocks * size, size, 1), bias: bias?.value, groups: blocks)
  }
}
