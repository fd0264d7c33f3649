import BraidMixers
import BraidNN
import BraidTensor

// One direction of the mixers that MambAttention is compared with: mixer(norm(x)) + x.

extension MambAttention.Mixer {
  /// What the blocks over time and frequency are called by.
  var scopeName: String { self == .mlstm ? "xlstm" : rawValue }
}

extension MambAttention.Configuration {
  /// What the list of blocks is called by: as published where it was, otherwise as MambAttention's.
  var blocksName: String {
    switch (attention, mixer) {
    case (.none, .mamba): "TSMamba"
    case (.none, .mlstm): "TSxLSTM"
    default: "TFMambAttention"
    }
  }

  /// The two directions along an axis.
  func pair(blocks: ParameterScope, projection: ParameterScope) throws -> BidirectionalPair {
    guard mixer == .mamba else {
      return try BidirectionalPair(blocks: blocks, projection: projection, channels: channels, layer: layer)
    }
    return try BidirectionalPair(
      blocks: blocks, projection: projection,
      mamba: Mamba.Configuration(
        channels: channels, innerChannels: expansion * channels, stateSize: stateSize, kernelSize: kernelSize),
      epsilon: normEpsilon)
  }

  /// The function of one direction of the other mixers, on sequences [batch, length, channels].
  private func layer(_ scope: ParameterScope) throws -> BidirectionalPair.Layer {
    let inner = expansion * channels
    switch mixer {
    case .mamba: preconditionFailure("a pair of Mamba layers is made whole")
    case .lstm:
      let norm = scope("norm").parameter("weight", [channels], init: .ones)
      let lstm = RecurrentLayer(scope, channels: channels, hidden: max(1, inner / 2))
      return { [normEpsilon] x in lstm(x.rmsNorm(weight: norm.value, epsilon: normEpsilon)) + x }
    case .mlstm:
      let weight = scope("norm").parameter("weight", [channels], init: .zeros)
      let bias = scope("norm").parameter("bias", [channels], init: .zeros)
      let mixer = try MatrixLSTM(
        scope("layer"),
        MatrixLSTM.Configuration(
          channels: channels, innerChannels: inner, kernelSize: kernelSize, normEpsilon: normEpsilon))
      // As published, the weight is stored as its distance from 1.
      return { [normEpsilon] x in
        mixer(x.layerNorm(weight: 1 + weight.value, bias: bias.value, epsilon: normEpsilon)) + x
      }
    }
  }
}

/// An LSTM, its parameters named as torch names those of one layer, and a projection back to the channels.
struct RecurrentLayer: Sendable {
  let inputWeight, hiddenWeight, inputBias, hiddenBias: Parameter
  let output: Linear

  init(_ scope: ParameterScope, channels: Int, hidden: Int) {
    let lstm = scope("lstm")
    inputWeight = lstm.parameter("weight_ih_l0", [4 * hidden, channels], init: .fanIn(hidden))
    hiddenWeight = lstm.parameter("weight_hh_l0", [4 * hidden, hidden], init: .fanIn(hidden))
    inputBias = lstm.parameter("bias_ih_l0", [4 * hidden], init: .fanIn(hidden))
    hiddenBias = lstm.parameter("bias_hh_l0", [4 * hidden], init: .fanIn(hidden))
    output = Linear(scope("out_proj"), inputs: hidden, outputs: channels)
  }

  /// [batch, length, channels] to the same.
  func callAsFunction(_ x: Tensor) -> Tensor {
    output(
      lstm(
        x, inputWeight: inputWeight.value, hiddenWeight: hiddenWeight.value, inputBias: inputBias.value,
        hiddenBias: hiddenBias.value
      ).output)
  }
}
