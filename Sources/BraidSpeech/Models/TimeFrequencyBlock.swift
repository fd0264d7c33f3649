import BraidMixers
import BraidNN
import BraidTensor

/// Shared attention and bidirectional Mamba over time, then over frequency.
///
///     x = x + A(x);  x = x + W_t [f(x), b(x)] + b_t      sequences over time, one per frequency
///     x = x + A(x);  x = x + W_f [f'(x), b'(x)] + b_f    sequences over frequency, one per frame; the same A
///     A(x) = MHA(LN(x));  f(x) = Mamba(RMSNorm(x)) + x;  b(x) the same on the reversed sequence
///
/// Source: Kuehne et al., "MambAttention: Mamba with multi-head attention for generalizable single-channel speech
/// enhancement", 2025.
struct TimeFrequencyBlock: Sendable {
  let attention: SharedAttention
  let time: BidirectionalBranch
  let frequency: BidirectionalBranch

  init(_ scope: ParameterScope, _ c: MambAttention.Configuration) throws {
    time = try BidirectionalBranch(scope("time_mamba"), output: scope("tlinear"), c)
    frequency = try BidirectionalBranch(scope("freq_mamba"), output: scope("flinear"), c)
    attention = SharedAttention(scope("attention"), channels: c.channels, heads: c.heads)
  }

  /// [batch, time, frequency, channels] to the same.
  func callAsFunction(_ x: Tensor) -> Tensor {
    let (batch, frames, bins, channels) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
    var y = x.permuted(0, 2, 1, 3).contiguous().reshaped(batch * bins, frames, channels)
    y = time(attention(y))
    y = y.reshaped(batch, bins, frames, channels).permuted(0, 2, 1, 3).contiguous()
      .reshaped(batch * frames, bins, channels)
    return frequency(attention(y)).reshaped(batch, frames, bins, channels)
  }
}

/// x + W MHA(LN(x)): softmax attention of sequences [batch, length, channels], parameters as torch names them.
struct SharedAttention: Sendable {
  let heads: Int
  let norm: LayerNorm
  let inputWeight: Parameter
  let inputBias: Parameter
  let output: Linear

  init(_ scope: ParameterScope, channels: Int, heads: Int) {
    self.heads = heads
    inputWeight = scope("attn").parameter("in_proj_weight", [3 * channels, channels], init: .fanIn(channels))
    inputBias = scope("attn").parameter("in_proj_bias", [3 * channels], init: .zeros)
    output = Linear(scope("attn")("out_proj"), inputs: channels, outputs: channels)
    norm = LayerNorm(scope("layernorm"), channels: channels)
  }

  func callAsFunction(_ x: Tensor) -> Tensor {
    let (batch, length, channels) = (x.shape[0], x.shape[1], x.shape[2])
    let projected = linear(norm(x), inputWeight.value, bias: inputBias.value)
      .reshaped(batch, length, 3, heads, channels / heads)
    let mixed = scaledDotProductAttention(
      projected.selected(axis: 2, 0), projected.selected(axis: 2, 1), projected.selected(axis: 2, 2))
    return output(mixed.reshaped(batch, length, channels), residual: x)
  }
}

/// x + W [f(x), b(x)] + bias, f and b Mamba with norm and residual along the sequence and against it.
struct BidirectionalBranch: Sendable {
  struct Direction: Sendable {
    let norm: Parameter
    let mixer: Mamba
    let epsilon: Float

    init(_ scope: ParameterScope, _ c: MambAttention.Configuration) throws {
      mixer = try Mamba(
        scope("mixer"),
        Mamba.Configuration(
          channels: c.channels, innerChannels: c.expansion * c.channels, stateSize: c.stateSize,
          kernelSize: c.kernelSize))
      norm = scope("norm").parameter("weight", [c.channels], init: .ones)
      epsilon = c.normEpsilon
    }

    func callAsFunction(_ x: Tensor) -> Tensor {
      mixer(x.rmsNorm(weight: norm.value, epsilon: epsilon)) + x
    }
  }
  let forward: Direction
  let backward: Direction
  let weight: Parameter
  let bias: Parameter

  init(_ scope: ParameterScope, output: ParameterScope, _ c: MambAttention.Configuration) throws {
    forward = try Direction(scope("forward_blocks")(0), c)
    backward = try Direction(scope("backward_blocks")(0), c)
    // Published as a transposed convolution of one tap: [inputs, outputs, 1].
    weight = output.parameter("weight", [2 * c.channels, c.channels, 1], init: .fanIn(c.channels))
    bias = output.parameter("bias", [c.channels], init: .fanIn(c.channels))
  }

  func callAsFunction(_ x: Tensor) -> Tensor {
    let both = Tensor.concatenated([forward(x), backward(x.flipped(axis: 1)).flipped(axis: 1)], axis: -1)
    return transposedConv1d(both, weight.value, bias: bias.value) + x
  }
}
