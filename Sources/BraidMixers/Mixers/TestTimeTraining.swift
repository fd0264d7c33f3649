import BraidNN
import BraidTensor

/// A memory that is a small network, trained by gradient descent on the sequence while it is read.
///
///     q, k, v = W h, heads, q and k of norm 1
///     η_t = η σ(W_η h_t + b_η);   g_t = -softplus(W_a h_t + b_a), or 0;   G_t the sum over the mini-batch
///     W_t = exp(G_t) W - η_t Σ_{s≤t} exp(G_t - G_s) ∇_W ℓ(f_W(k_s), v_s)    W: before the mini-batch
///     o_t = f_{W_t}(q_t);   out = W_o LayerNorm(o)
///
/// h [batch, length, C]. f is linear, or two layers with a GELU between. With normalisation (TTT layers),
/// ℓ = |LN(f(k)) - (v - k)|² / 2 and o is o + LN(o); without (AllMem), ℓ = |f(k) - v|² / 2: then a linear
/// memory without bias and with mini-batches of one position is the delta rule. The initial memory is learnt.
/// Source: Sun et al., "Learning to (learn at test time): RNNs with expressive hidden states", 2024; the
/// memory of "AllMem", 2026.
public struct TestTimeTraining: CausalMixer {
  public enum Memory: String, Codable, Hashable, Sendable {
    case linear
    /// Two layers with `hiddenWidth` channels between.
    case twoLayer
  }

  public struct Configuration: Codable, Hashable, Sendable {
    public var channels: Int
    public var heads: Int
    /// D, the channels of a head.
    public var headWidth: Int
    public var memory: Memory
    /// Channels between the layers of a two-layer memory.
    public var hiddenWidth: Int
    /// Positions whose gradients are taken at the same weights.
    public var miniBatch: Int
    /// Whether the memory has biases.
    public var bias: Bool
    public var isNormalized: Bool
    /// Whether the weights decay.
    public var forgets: Bool
    /// η
    public var rate: Float
    public var normEpsilon: Float

    /// - Parameters:
    ///   - hiddenWidth: 4 headWidth where nil.
    ///   - rate: 1 / miniBatch where nil.
    public init(
      channels: Int, heads: Int, headWidth: Int, memory: Memory = .linear, hiddenWidth: Int? = nil,
      miniBatch: Int = 16, bias: Bool = true, isNormalized: Bool = true, forgets: Bool = false,
      rate: Float? = nil, normEpsilon: Float = 1e-6
    ) {
      self.channels = channels
      self.heads = heads
      self.headWidth = headWidth
      self.memory = memory
      self.hiddenWidth = hiddenWidth ?? 4 * headWidth
      self.miniBatch = miniBatch
      self.bias = bias
      self.isNormalized = isNormalized
      self.forgets = forgets
      self.rate = rate ?? 1 / Float(Swift.max(miniBatch, 1))
      self.normEpsilon = normEpsilon
    }
  }

  public static let name = "test-time-training"
  public static let examples = [
    Configuration(channels: 8, heads: 2, headWidth: 6),
    Configuration(
      channels: 6, heads: 2, headWidth: 4, memory: .twoLayer, hiddenWidth: 7, miniBatch: 5,
      isNormalized: false,
      forgets: true),
    Configuration(
      channels: 6, heads: 1, headWidth: 5, miniBatch: 1, bias: false, isNormalized: false, forgets: true,
      rate: 0.8),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.channels }
  /// q, k and v.
  let projections: [Linear]
  let learningRate: Linear
  let forget: Linear?
  /// Weight and bias of each layer of the initial memory.
  let memory: [(weight: Parameter, bias: Parameter?)]
  let memoryNorm: (weight: Parameter, bias: Parameter)?
  let norm: LayerNorm
  let output: Linear

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try MixerError.require(
      min(c.channels, c.heads, c.headWidth, c.hiddenWidth, c.miniBatch) > 0 && c.normEpsilon >= 0
        && c.rate.isFinite, Self.name,
      "\(c.channels) channels, \(c.heads) heads of \(c.headWidth), \(c.hiddenWidth) between layers, "
        + "mini-batches of \(c.miniBatch), rate \(c.rate), norm epsilon \(c.normEpsilon)")
    configuration = c
    let inner = c.heads * c.headWidth
    projections = ["q_proj", "k_proj", "v_proj"].map {
      Linear(scope($0), inputs: c.channels, outputs: inner, bias: false)
    }
    learningRate = Linear(scope("lr_proj"), inputs: c.channels, outputs: c.heads)
    // Memories of about 10 to 1000 positions at the start.
    forget =
      c.forgets
      ? Linear(
        scope("a_proj"), inputs: c.channels, outputs: c.heads, init: .fanIn(c.channels),
        biasInit: .inverseSoftplus(logUniform: 0.001...0.1)) : nil
    let widths =
      c.memory == .linear ? [c.headWidth, c.headWidth] : [c.headWidth, c.hiddenWidth, c.headWidth]
    memory = (0..<widths.count - 1).map { i in
      (
        scope.parameter("W\(i + 1)", [c.heads, widths[i], widths[i + 1]], init: .fanIn(widths[i])),
        c.bias ? scope.parameter("b\(i + 1)", [c.heads, 1, widths[i + 1]]) : nil
      )
    }
    memoryNorm =
      c.isNormalized
      ? (
        scope.parameter("ttt_norm_weight", [c.heads, c.headWidth], init: .ones),
        scope.parameter("ttt_norm_bias", [c.heads, c.headWidth])
      ) : nil
    norm = LayerNorm(scope("post_norm"), channels: inner, epsilon: c.normEpsilon)
    output = Linear(scope("o_proj"), inputs: inner, outputs: c.channels, bias: false)
  }

  /// What the memory reads and writes at every position, [B, H, L, ...].
  private struct Stream {
    var q, k, v, rate: Tensor
    var logDecay: Tensor?

    func slice(_ range: Range<Int>) -> Stream {
      Stream(
        q: q.sliced(axis: 2, range), k: k.sliced(axis: 2, range), v: v.sliced(axis: 2, range),
        rate: rate.sliced(axis: 2, range), logDecay: logDecay?.sliced(axis: 2, range))
    }
  }

  private func stream(_ x: Tensor) -> Stream {
    let c = configuration
    let parts = projections.map { $0(x).heads(c.headWidth) }
    func perHead(_ y: Tensor) -> Tensor { y.transposed(1, 2).unsqueezed(-1) }
    return Stream(
      q: parts[0].unitNorm().transposed(1, 2), k: parts[1].unitNorm().transposed(1, 2),
      v: parts[2].transposed(1, 2), rate: perHead(learningRate(x, activation: .sigmoid) * c.rate),
      logDecay: forget.map { perHead(-$0(x).softplus()) })
  }

  private func finished(_ outputs: [Tensor]) -> Tensor {
    let o = outputs.count == 1 ? outputs[0] : Tensor.concatenated(outputs, axis: 2)
    return output(norm(o.transposed(1, 2).joinedHeads()))
  }

  private func memory(_ state: MixerState) -> FastWeightMemory {
    let c = configuration
    return FastWeightMemory(
      weights: memory.indices.map { state["layer \($0 + 1)"] },
      changes: memory.indices.map { state["change \($0 + 1)"] }, decay: c.forgets ? state["decay"] : nil,
      position: state.position % c.miniBatch, miniBatch: c.miniBatch, hasBias: c.bias,
      normalization: memoryNorm.map {
        .init(
          weight: $0.weight.value.reshaped(c.heads, 1, c.headWidth),
          bias: $0.bias.value.reshaped(c.heads, 1, c.headWidth), epsilon: c.normEpsilon)
      })
  }

  public func reference(_ x: Tensor) -> Tensor {
    let all = stream(x)
    var memory = memory(initialState(batch: x.shape[0]))
    return finished(
      (0..<x.shape[1]).map { t in
        let s = all.slice(t..<t + 1)
        return memory.readLiterally(s.q, s.k, s.v, rate: s.rate, logDecay: s.logDecay)
      })
  }

  public func initialState(batch: Int) -> MixerState {
    var state = MixerState()
    for (i, layer) in memory.enumerated() {
      var weight = layer.weight.value
      if let bias = layer.bias { weight = Tensor.concatenated([weight, bias.value], axis: 1) }
      let shape = Shape([batch] + weight.shape.dimensions)
      state["layer \(i + 1)"] = weight.unsqueezed(0).broadcast(to: shape).contiguous()
      state["change \(i + 1)"] = .zeros(shape)
    }
    if configuration.forgets { state["decay"] = .zeros([batch, configuration.heads, 1, 1]) }
    return state
  }

  public func prefill(_ x: Tensor, state: inout MixerState) -> Tensor {
    let all = stream(x)
    var memory = memory(state)
    var outputs: [Tensor] = []
    var start = 0
    while start < x.shape[1] {
      let end = min(x.shape[1], start + memory.miniBatch - memory.position)
      let s = all.slice(start..<end)
      outputs.append(memory.read(s.q, s.k, s.v, rate: s.rate, logDecay: s.logDecay))
      start = end
    }
    for i in memory.weights.indices {
      state["layer \(i + 1)"] = memory.weights[i]
      state["change \(i + 1)"] = memory.changes[i]
    }
    if let decay = memory.decay { state["decay"] = decay }
    state.position += x.shape[1]
    return finished(outputs)
  }
}
