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
  let time: BidirectionalMamba
  let frequency: BidirectionalMamba

  init(_ scope: ParameterScope, _ c: MambAttention.Configuration) throws {
    let mamba = Mamba.Configuration(
      channels: c.channels, innerChannels: c.expansion * c.channels, stateSize: c.stateSize,
      kernelSize: c.kernelSize)
    let both = BidirectionalMamba.Configuration(mamba: mamba, epsilon: c.normEpsilon)
    time = try BidirectionalMamba(blocks: scope("time_mamba"), projection: scope("tlinear"), both)
    frequency = try BidirectionalMamba(blocks: scope("freq_mamba"), projection: scope("flinear"), both)
    attention = SharedAttention(scope("attention"), channels: c.channels, heads: c.heads)
  }

  /// [batch, time, frequency, channels] to the same.
  func callAsFunction(_ x: Tensor) -> Tensor {
    let (batch, frames, bins, channels) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
    var y = x.permuted(0, 2, 1, 3).contiguous().reshaped(batch * bins, frames, channels)
    y = attention(y)
    y = (y + time(y)).reshaped(batch, bins, frames, channels).permuted(0, 2, 1, 3).contiguous()
      .reshaped(batch * frames, bins, channels)
    y = attention(y)
    return (y + frequency(y)).reshaped(batch, frames, bins, channels)
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
    let parts = projected.split(into: 3, axis: 2).map { $0.squeezed(2) }
    let mixed = scaledDotProductAttention(parts[0], parts[1], parts[2])
    return output(mixed.reshaped(batch, length, channels), residual: x)
  }
}
