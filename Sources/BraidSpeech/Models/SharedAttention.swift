import BraidNN
import BraidTensor

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
      .reshaped(batch, length, 3, heads, channels / heads).split(into: 3, axis: 2).map { $0.squeezed(2) }
    let mixed = scaledDotProductAttention(projected[0], projected[1], projected[2])
    return output(mixed.reshaped(batch, length, channels), residual: x)
  }

  var parameters: [Parameter] {
    [norm.weight, norm.bias, inputWeight, inputBias, output.weight] + [output.bias].compactMap { $0 }
  }

  /// Whether the operation that goes on with a pair of Mamba layers takes its heads.
  var hasNarrowHeads: Bool { inputWeight.shape[1] / heads <= BidirectionalPass.Attention.widestHead }

  /// This attention for that operation.
  var fused: BidirectionalPass.Attention {
    BidirectionalPass.Attention(
      heads: heads, normWeight: norm.weight.value, normBias: norm.bias.value, epsilon: norm.epsilon,
      input: inputWeight.value, inputBias: inputBias.value, output: output.weight.value,
      outputBias: output.bias?.value)
  }
}
