import BraidMixers
import BraidNN
import BraidTensor

/// Windowed attention and Mamba over time, then attention and a feed-forward layer over frequency.
///
///     x = x + A(x) over time, causal, a window;   x = x + Mamba(RMSNorm(x)) over time, forward
///     x = x + A(x) over frequency, the same A;    x = x + W_2 SiLU(W_1 LN(x) + b_1) + b_2
///     A(x) = MHA(LN(x))
///
/// Maps are [batch, time, frequency, channels].
struct StreamingBlock: Sendable {
  let attention: SharedAttention
  let norm: Parameter
  let mamba: Mamba
  let feedForwardNorm: LayerNorm
  let up: Linear
  let down: Linear
  let window: Int
  static let normEpsilon: Float = 1e-5

  init(_ scope: ParameterScope, _ c: StreamingMambAttention.Configuration) throws {
    attention = SharedAttention(scope("attention"), channels: c.channels, heads: c.heads)
    norm = scope("time_mamba")("norm").parameter("weight", [c.channels], init: .ones)
    mamba = try Mamba(
      scope("time_mamba")("mixer"),
      .init(
        channels: c.channels, innerChannels: c.expansion * c.channels, stateSize: c.stateSize,
        kernelSize: c.kernelSize))
    feedForwardNorm = LayerNorm(scope("feed_forward")("norm"), channels: c.channels)
    up = Linear(scope("feed_forward")("up"), inputs: c.channels, outputs: c.feedForward * c.channels)
    down = Linear(scope("feed_forward")("down"), inputs: c.feedForward * c.channels, outputs: c.channels)
    window = c.window
  }

  /// The state before the first frame, of sequences over time.
  func initialState(sequences: Int) -> MixerState {
    let width = mamba.channels / attention.heads
    let empty = Tensor.zeros([sequences, 0, attention.heads, width])
    return MixerState(
      ["keys": empty, "values": empty], children: ["mamba": mamba.initialState(batch: sequences)])
  }

  /// [batch, time, frequency, channels] to the same; the state moves on.
  func callAsFunction(_ x: Tensor, state: inout MixerState) -> Tensor {
    let (batch, frames, width, channels) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
    var y = x.permuted(0, 2, 1, 3).contiguous().reshaped(batch * width, frames, channels)
    y = attention.overTime(y, window: window, state: &state)
    y =
      y
      + mamba.prefill(
        y.rmsNorm(weight: norm.value, epsilon: Self.normEpsilon), state: &state[child: "mamba"])
    state.position += frames
    y = y.reshaped(batch, width, frames, channels).permuted(0, 2, 1, 3).contiguous()
      .reshaped(batch * frames, width, channels)
    y = attention(y)
    y = down(up(feedForwardNorm(y), activation: .silu), residual: y)
    return y.reshaped(batch, frames, width, channels)
  }
}

extension SharedAttention {
  /// x + W MHA(LN(x)) over the last positions of sequences [batch, length, channels]; the state, keys and values of
  /// the window before, moves on.
  func overTime(_ x: Tensor, window: Int, state: inout MixerState) -> Tensor {
    let (batch, length, channels) = (x.shape[0], x.shape[1], x.shape[2])
    let projected = linear(norm(x), inputWeight.value, bias: inputBias.value)
      .reshaped(batch, length, 3, heads, channels / heads)
    let parts = projected.split(into: 3, axis: 2).map { $0.squeezed(2) }
    state.append(parts[1], to: "keys")
    state.append(parts[2], to: "values")
    let mixed = scaledDotProductAttention(
      parts[0], state["keys"], state["values"], causal: true, window: window)
    state.keepLast(window - 1, of: "keys")
    state.keepLast(window - 1, of: "values")
    return output(mixed.reshaped(batch, length, channels), residual: x)
  }
}

/// A convolution over time, causal, and frequency, which it halves: [batch, time, F, inputs] to
/// [batch, time, ceil(F / 2), outputs].
struct CausalMapConvolution: Sendable {
  let weight: Parameter
  let bias: Parameter

  init(_ scope: ParameterScope, inputs: Int, outputs: Int, kernel: (time: Int, frequency: Int)) {
    let fanIn = inputs * kernel.time * kernel.frequency
    // Without a norm behind it, the variance must live through the SiLU.
    weight = scope.parameter(
      "weight", [outputs, inputs, kernel.time, kernel.frequency], init: .fanIn(max(1, fanIn / 6)))
    bias = scope.parameter("bias", [outputs], init: .zeros)
  }

  /// - Parameters:
  ///   - past: the inputs just before x [batch, kernel - 1, F, inputs]; zeros where nil.
  ///   - next: set to those that the frames behind x need.
  func callAsFunction(_ x: Tensor, past: Tensor?, next: inout Tensor, isLast: Bool) -> Tensor {
    let (before, side) = (weight.shape[2] - 1, weight.shape[3] / 2)
    let seen = past.map { Tensor.concatenated([$0, x], axis: 1) } ?? x
    let rows = seen.shape[1]
    let recent = seen.detached.sliced(axis: 1, max(0, rows - before)..<rows)
    next = rows < before ? recent.padded(axis: 1, before: before - rows) : recent.duplicated()
    return convolution(
      seen, weight.value, bias: bias.value,
      axes: ConvolutionAxes(
        stride: [1, 2], before: [past == nil ? before : 0, side], after: [0, side], dilation: [1, 1]),
      activation: isLast ? .none : .silu)
  }
}

/// A transposed convolution over frequency, which it doubles: [batch, time, F, inputs] to
/// [batch, time, width, outputs], width 2 F - 1 or 2 F.
struct WideningConvolution: Sendable {
  let weight: Parameter
  let bias: Parameter
  let isLast: Bool

  init(_ scope: ParameterScope, inputs: Int, outputs: Int, kernel: Int, isLast: Bool = false) {
    // Every output hears about half of the kernel. The last layer starts near the mask that changes nothing.
    let fanIn = inputs * kernel / 2
    weight = scope.parameter(
      "weight", [inputs, outputs, 1, kernel], init: .fanIn(isLast ? 10 * fanIn : max(1, fanIn / 6)))
    bias = scope.parameter("bias", [outputs], init: .zeros)
    self.isLast = isLast
  }

  func callAsFunction(_ x: Tensor, width: Int, residual: Tensor?) -> Tensor {
    let side = weight.shape[3] / 2
    let natural = (x.shape[2] - 1) * 2 - 2 * side + weight.shape[3]
    return transposedConvolution(
      x, weight.value, bias: bias.value,
      axes: ConvolutionAxes(stride: [1, 2], padding: [0, side], dilation: [1, 1]),
      outputPadding: [0, width - natural], activation: isLast ? .none : .silu, residual: residual)
  }
}
