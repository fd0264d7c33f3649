import BraidNN
import BraidTensor

/// The H3 layer: a shift state-space model on the keys, then a diagonal one on the products of keys and values.
///
///     q, k, v = W_q u + b_q, W_k u + b_k, W_v u + b_v                            [C], C = H d
///     k̃_t = Σ_j κ_j k_{t-j} + D_k ⊙ k_t;   κ_j = Σ_m C_{m+j} B_m, j < N           a shift of N positions
///     P_t[h, i, j] = k̃_t[h, i] v_t[h, j];   Y = S4D_h(P) + D_h P                  [H, d, d]
///     y_t[j, h] = Σ_i q_t[h, i] Y_t[h, i, j];   out = W_o y + b_o
///
/// u [batch, length, C]; heads lie outside of their d channels in q, k and v, and inside of them in y, as published.
/// S4D is `DiagonalStateSpace`. Names as in the published code.
/// Source: Fu et al., "Hungry hungry hippos: towards language modeling with state space models", 2023, section 3.
public struct H3: CausalMixer {
  public struct Configuration: Codable, Hashable, Sendable {
    public var channels: Int
    /// N of both state-space models, even.
    public var stateSize: Int
    /// d
    public var headSize: Int

    public init(channels: Int, stateSize: Int = 64, headSize: Int = 1) {
      self.channels = channels
      self.stateSize = stateSize
      self.headSize = headSize
    }
  }

  public static let name = "h3"
  public static let examples = [
    Configuration(channels: 12, stateSize: 8, headSize: 2), Configuration(channels: 6, stateSize: 4),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.channels }
  let query: Linear
  let key: Linear
  let value: Linear
  let shiftInputs: Parameter
  let shiftOutputs: Parameter
  let shiftSkip: Parameter
  let diagonal: DiagonalStateSpace
  let skip: Parameter
  let output: Linear
  private let heads: Int

  /// Positions that one Fourier transform covers; the state is passed on between them.
  private static let chunk = 512

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try MixerError.require(
      min(c.channels, c.stateSize, c.headSize) > 0 && c.stateSize % 2 == 0 && c.channels % c.headSize == 0,
      Self.name, "\(c.channels) channels in heads of \(c.headSize), state size \(c.stateSize) (even)")
    configuration = c
    heads = c.channels / c.headSize
    query = Linear(scope("q_proj"), inputs: c.channels, outputs: c.channels)
    key = Linear(scope("k_proj"), inputs: c.channels, outputs: c.channels)
    value = Linear(scope("v_proj"), inputs: c.channels, outputs: c.channels)
    let shift = scope("ssm_k_kernel.kernel")
    let states = c.stateSize
    shiftInputs = shift.parameter(
      "B", [c.channels, states],
      init: .custom { shape, _ in
        Tensor((0..<shape.elementCount).map { $0 % states == 0 ? 1 : 0 as Float }, shape: shape)
      })
    shiftOutputs = shift.parameter("C", [1, c.channels, states], init: .fanIn(states))
    shiftSkip = scope.parameter("ssm_k_D", [c.channels], init: .normal(1))
    diagonal = DiagonalStateSpace(scope("kernel.kernel"), heads: heads, stateSize: states)
    skip = scope.parameter("D", [heads], init: .normal(1))
    output = Linear(scope("output_linear"), inputs: c.channels, outputs: c.channels)
  }

  public func reference(_ x: Tensor) -> Tensor {
    let (batch, length, d) = (x.shape[0], x.shape[1], configuration.headSize)
    let (q, k, v) = (query(x), key(x), value(x))
    let (a, b, c) = diagonal.discretized()
    var shifted = Tensor.zeros([batch, channels, configuration.stateSize])
    var (real, imaginary) = (
      Tensor.zeros([batch, d, d, heads, diagonal.modes]), Tensor.zeros([batch, d, d, heads, diagonal.modes])
    )
    let outputs = (0..<length).map { t in
      let kt = k.selected(axis: 1, t)
      let moved = shifted.sliced(axis: 2, 0..<configuration.stateSize - 1).padded(axis: 2, before: 1)
      shifted = moved + shiftInputs.value * kt.unsqueezed(-1)
      let key = (shifted * shiftOutputs.value).sum(axes: [-1]) + shiftSkip.value * kt
      // [B, d, 1, H] and [B, 1, d, H]
      let left = key.reshaped(batch, heads, d).transposed().unsqueezed(2)
      let right = v.selected(axis: 1, t).reshaped(batch, heads, d).transposed().unsqueezed(1)
      let product = left * right
      let u = product.unsqueezed(-1)
      (real, imaginary) = (
        a.real * real - a.imaginary * imaginary + b.real * u,
        a.real * imaginary + a.imaginary * real + b.imaginary * u
      )
      let y = (c.real * real - c.imaginary * imaginary).sum(axes: [-1]) * 2 + skip.value * product
      let read = q.selected(axis: 1, t).reshaped(batch, heads, d).transposed().unsqueezed(2)
      return (y * read).sum(axes: [1]).reshaped(batch, channels)
    }
    return output(Tensor.stacked(outputs, axis: 1))
  }

  public func initialState(batch: Int) -> MixerState {
    let c = configuration
    return MixerState([
      "convolution": .zeros([batch, c.stateSize - 1, c.channels]),
      "scan": .zeros([batch, heads, c.headSize * c.headSize, c.stateSize]),
    ])
  }

  /// κ as the weights of a causal convolution [C, 1, N], the present position last.
  private var shiftKernel: Tensor {
    kept([shiftInputs, shiftOutputs], "shift kernel") {
      let reversed = shiftOutputs.value.flipped(axis: 2).transposed(1, 2)
      return reversed.longConvolved(shiftInputs.value).squeezed(0).transposed().unsqueezed(1).contiguous()
    }
  }

  public func prefill(_ x: Tensor, state: inout MixerState) -> Tensor {
    let (batch, length, d) = (x.shape[0], x.shape[1], configuration.headSize)
    let (q, k, v) = (query(x), key(x), value(x))
    let (convolved, past) = causalConv1d(k, shiftKernel, state: state["convolution"])
    state["convolution"] = past
    state.position += length
    let left = (convolved + shiftSkip.value * k).reshaped(batch, length, heads, d, 1)
    let product = left * v.reshaped(batch, length, heads, 1, d)
    // [B, L, d d, H]: every pair of channels is a sequence of its own.
    let u = product.reshaped(batch, length, heads, d * d).transposed()
    var scan = state["scan"]
    let filtered =
      length == 1
      ? diagonal.step(u.squeezed(1), state: &scan).unsqueezed(1)
      : diagonal(u, state: &scan, chunk: Self.chunk)
    state["scan"] = scan
    let y = (filtered + skip.value * u).reshaped(batch, length, d, d, heads)
    let read = q.reshaped(batch, length, heads, d).transposed().unsqueezed(3)
    return output((y * read).sum(axes: [2]).reshaped(batch, length, channels))
  }
}
