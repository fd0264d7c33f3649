import BraidNN
import BraidTensor

/// A causal depthwise convolution of a few positions between two gates (LFM2).
///
///     [B, C, x] = W_in h;   y_t = C_t ⊙ Σ_{i<k} w_i ⊙ (B ⊙ x)_{t-k+1+i};   out = W_out y
///
/// h [batch, length, C]; the convolution has no activation. Names as in the published LFM2 checkpoints.
/// Source: Liquid AI, "LFM2 technical report", 2025.
public struct GatedShortConvolution: CausalMixer {
  public struct Configuration: Codable, Hashable, Sendable {
    public var channels: Int
    /// k, the positions that an output sees.
    public var kernelSize: Int
    public var bias: Bool

    public init(channels: Int, kernelSize: Int = 3, bias: Bool = false) {
      self.channels = channels
      self.kernelSize = kernelSize
      self.bias = bias
    }
  }

  public static let name = "gated-short-convolution"
  public static let examples = [
    Configuration(channels: 12), Configuration(channels: 8, kernelSize: 1, bias: true),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.channels }
  let input: Linear
  let kernel: Parameter
  let kernelBias: Parameter?
  let output: Linear

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try MixerError.require(
      c.channels > 0 && c.kernelSize > 0, Self.name,
      "\(c.channels) channels and a kernel of \(c.kernelSize) positions")
    configuration = c
    input = Linear(scope("in_proj"), inputs: c.channels, outputs: 3 * c.channels, bias: c.bias)
    kernel = scope.parameter("conv.weight", [c.channels, 1, c.kernelSize], init: .fanIn(c.kernelSize))
    kernelBias = c.bias ? scope.parameter("conv.bias", [c.channels], init: .fanIn(c.kernelSize)) : nil
    output = Linear(scope("out_proj"), inputs: c.channels, outputs: c.channels, bias: c.bias)
  }

  public func reference(_ x: Tensor) -> Tensor {
    let (length, size) = (x.shape[1], configuration.kernelSize)
    let parts = input(x).split(into: 3, axis: -1)
    let gated = (parts[0] * parts[2]).padded(axis: 1, before: size - 1)
    let outputs = (0..<length).map { t in
      var sum = Tensor.zeros([x.shape[0], channels])
      for i in 0..<size {
        sum = sum + gated.selected(axis: 1, t + i) * kernel.value.selected(axis: 2, i).reshaped(channels)
      }
      if let kernelBias { sum = sum + kernelBias.value }
      return parts[1].selected(axis: 1, t) * sum
    }
    return output(Tensor.stacked(outputs, axis: 1))
  }

  public func initialState(batch: Int) -> MixerState {
    MixerState(["convolution": .zeros([batch, configuration.kernelSize - 1, channels])])
  }

  public func prefill(_ x: Tensor, state: inout MixerState) -> Tensor {
    let parts = input(x).split(into: 3, axis: -1)
    let (mixed, past) = causalConv1d(
      parts[0] * parts[2], kernel.value, bias: kernelBias?.value, state: state["convolution"])
    state["convolution"] = past
    state.position += x.shape[1]
    return output(parts[1] * mixed)
  }
}
