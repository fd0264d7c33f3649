import BraidNN
import BraidTensor

/// Causal softmax attention whose keys and values are read from one small latent vector a position.
///
///     [c_t, r_t] = W_a x_t;   c_t ← norm(c_t);   r_t ← R_t(r_t)
///     [k_{t,h}, v_{t,h}] = W_b[h] c_t;     [q_{t,h}, p_{t,h}] = W_q[h] x_t;   p ← R_t(p)
///     o_{t,h} = Σ_{j ≤ t} softmax_j(scale (q_{t,h}·k_{j,h} + p_{t,h}·r_j)) v_{j,h};    y_t = W_o o_t
///
/// The state holds [c_t, r_t], [batch, positions, 1, latentWidth + rotaryWidth]. A step does not expand it: W_b is
/// absorbed into the query and the output, q·(W_k c) = (W_kᵀ q)·c, and all heads attend to the latents themselves.
/// Names as in DeepSeek-V2 and V3 and in Kimi Linear, whose r_t does not turn.
/// Source: DeepSeek-AI, "DeepSeek-V2", 2024, section 2.1.
public struct MultiHeadLatentAttention: CausalMixer {
  public struct Configuration: Codable, Hashable, Sendable {
    public var channels: Int
    public var heads: Int
    /// Width of c, of a head's part of the key, of r, and of a head's value.
    public var latentWidth, keyWidth, rotaryWidth, valueWidth: Int
    /// Width of the queries' own latent vector; they are projected directly where nil.
    public var queryLatentWidth: Int?
    /// The embedding of r; it does not turn where nil.
    public var rotary: RotaryEmbedding?
    /// What scores are multiplied by; 1 / sqrt(keyWidth + rotaryWidth) where nil.
    public var scale: Float?
    /// Biases of the projections into latents and of the output.
    public var bias: Bool
    public var epsilon: Float

    public init(
      channels: Int, heads: Int, latentWidth: Int, keyWidth: Int, rotaryWidth: Int, valueWidth: Int,
      queryLatentWidth: Int? = nil, rotary: RotaryEmbedding? = nil, scale: Float? = nil, bias: Bool = false,
      epsilon: Float = 1e-6
    ) {
      self.channels = channels
      self.heads = heads
      self.latentWidth = latentWidth
      self.keyWidth = keyWidth
      self.rotaryWidth = rotaryWidth
      self.valueWidth = valueWidth
      self.queryLatentWidth = queryLatentWidth
      self.rotary = rotary
      self.scale = scale
      self.bias = bias
      self.epsilon = epsilon
    }
  }

  public static let name = "multi-head-latent-attention"
  public static let examples = [
    Configuration(channels: 12, heads: 3, latentWidth: 8, keyWidth: 4, rotaryWidth: 2, valueWidth: 6),
    Configuration(
      channels: 8, heads: 2, latentWidth: 6, keyWidth: 4, rotaryWidth: 4, valueWidth: 4, queryLatentWidth: 5,
      rotary: RotaryEmbedding(dimensions: 4, form: .interleaved), bias: true),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.channels }
  let query: Linear
  /// Where queries have a latent vector of their own: into it, and its norm.
  let queryLatent: Linear?
  let queryNorm: Parameter?
  let latent: Linear
  let latentNorm: Parameter
  let expansion: Linear
  let output: Linear

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try MixerError.require(
      c.channels > 0 && c.heads > 0 && c.latentWidth > 0 && c.keyWidth > 0 && c.rotaryWidth >= 0
        && c.valueWidth > 0 && c.queryLatentWidth ?? 1 > 0, Self.name,
      "\(c.heads) heads of widths \(c.keyWidth) + \(c.rotaryWidth) and \(c.valueWidth), latent \(c.latentWidth)"
    )
    if let problem = c.rotary?.problem(headWidth: c.rotaryWidth) {
      throw MixerError.configuration(mixer: Self.name, reason: problem)
    }
    configuration = c
    let queryWidth = c.heads * (c.keyWidth + c.rotaryWidth)
    if let width = c.queryLatentWidth {
      queryLatent = Linear(scope("q_a_proj"), inputs: c.channels, outputs: width, bias: c.bias)
      queryNorm = scope("q_a_layernorm").parameter("weight", [width], init: .ones)
      query = Linear(scope("q_b_proj"), inputs: width, outputs: queryWidth, bias: false)
    } else {
      queryLatent = nil
      queryNorm = nil
      query = Linear(scope("q_proj"), inputs: c.channels, outputs: queryWidth, bias: false)
    }
    latent = Linear(
      scope("kv_a_proj_with_mqa"), inputs: c.channels, outputs: c.latentWidth + c.rotaryWidth, bias: c.bias)
    latentNorm = scope("kv_a_layernorm").parameter("weight", [c.latentWidth], init: .ones)
    expansion = Linear(
      scope("kv_b_proj"), inputs: c.latentWidth, outputs: c.heads * (c.keyWidth + c.valueWidth), bias: false,
      keepsPrecision: true)  // read as a matrix by steps
    output = Linear(scope("o_proj"), inputs: c.heads * c.valueWidth, outputs: c.channels, bias: c.bias)
  }

  var scale: Float {
    configuration.scale ?? 1 / Float(configuration.keyWidth + configuration.rotaryWidth).squareRoot()
  }

  public func reference(_ x: Tensor) -> Tensor {
    let (keys, values) = expanded(latents(x, from: 0))
    return finish(
      AttentionReference.attend(queries(x, from: 0), keys, values, scale: scale) { Array(0...$0) })
  }

  public func initialState(batch: Int) -> MixerState {
    MixerState(["latents": .zeros([batch, 0, 1, configuration.latentWidth + configuration.rotaryWidth])])
  }

  public func prefill(_ x: Tensor, state: inout MixerState) -> Tensor {
    let queries = self.queries(x, from: state.position)
    state.append(self.latents(x, from: state.position), to: "latents")
    state.position += x.shape[1]
    let latents = state["latents"]
    // Products a head: expanding costs once for every latent, absorbing for every pair of query and latent.
    let c = configuration
    let plain = (x.shape[1] + c.latentWidth) * (c.keyWidth + c.valueWidth) + x.shape[1] * c.rotaryWidth
    let absorbing = x.shape[1] * (2 * c.latentWidth + c.rotaryWidth)
    return finish(plain <= absorbing ? attendPlain(queries, latents) : attendAbsorbed(queries, latents))
  }

  /// Attention of the last queries to latents, with keys and values made from them.
  func attendPlain(_ queries: Tensor, _ latents: Tensor) -> Tensor {
    let (keys, values) = expanded(latents)
    return scaledDotProductAttention(queries, keys, values, causal: true, scale: scale)
  }

  /// The same, with the expansion in the queries and in the output: the latents are read where they lie.
  func attendAbsorbed(_ queries: Tensor, _ latents: Tensor) -> Tensor {
    let c = configuration
    let weights = expansion.weight.value.reshaped(c.heads, c.keyWidth + c.valueWidth, c.latentWidth)
    let parts = weights.split([c.keyWidth, c.valueWidth], axis: 1)
    let split = queries.split([c.keyWidth, c.rotaryWidth], axis: -1)
    // [B, H, L, keyWidth] by [H, keyWidth, latentWidth]
    let absorbed = matmul(split[0].transposed(1, 2), parts[0]).transposed(1, 2)
    let attended = scaledDotProductAttention(
      Tensor.concatenated([absorbed, split[1]], axis: -1), latents,
      latents.sliced(axis: -1, 0..<c.latentWidth), causal: true, scale: scale)
    return matmul(attended.transposed(1, 2), parts[1].transposed()).transposed(1, 2)
  }

  /// [B, L, heads, keyWidth + rotaryWidth], turned.
  private func queries(_ x: Tensor, from position: Int) -> Tensor {
    let c = configuration
    var q: Tensor
    if let queryLatent, let queryNorm {
      q = query(queryLatent(x).rmsNorm(weight: queryNorm.value, epsilon: c.epsilon))
    } else {
      q = query(x)
    }
    q = q.reshaped(x.shape[0], x.shape[1], c.heads, c.keyWidth + c.rotaryWidth)
    guard let rotary = c.rotary else { return q }
    let parts = q.split([c.keyWidth, c.rotaryWidth], axis: -1)
    return Tensor.concatenated([parts[0], rotary.rotated(parts[1], from: position)], axis: -1)
  }

  /// [B, L, 1, latentWidth + rotaryWidth], normalised and turned.
  private func latents(_ x: Tensor, from position: Int) -> Tensor {
    let c = configuration
    let parts = latent(x).reshaped(x.shape[0], x.shape[1], 1, c.latentWidth + c.rotaryWidth)
      .split([c.latentWidth, c.rotaryWidth], axis: -1)
    let normalized = parts[0].rmsNorm(weight: latentNorm.value, epsilon: c.epsilon)
    let turned = c.rotary.map { $0.rotated(parts[1], from: position) } ?? parts[1]
    return Tensor.concatenated([normalized, turned], axis: -1)
  }

  /// Keys [B, L, heads, keyWidth + rotaryWidth] and values [B, L, heads, valueWidth] of latents.
  private func expanded(_ latents: Tensor) -> (keys: Tensor, values: Tensor) {
    let c = configuration
    let (batch, length) = (latents.shape[0], latents.shape[1])
    let parts = latents.split([c.latentWidth, c.rotaryWidth], axis: -1)
    let both = expansion(parts[0]).reshaped(batch, length, c.heads, c.keyWidth + c.valueWidth)
      .split([c.keyWidth, c.valueWidth], axis: -1)
    let shared = parts[1].broadcast(to: [batch, length, c.heads, c.rotaryWidth])
    return (Tensor.concatenated([both[0], shared], axis: -1), both[1])
  }

  private func finish(_ attended: Tensor) -> Tensor {
    output(attended.reshaped(attended.shape[0], attended.shape[1], -1))
  }
}
