import BraidNN
import BraidTensor

/// Short convolutions of several signals beside each other; their states stand by name in the mixer's.
struct ShortConvolutions: Sendable {
  private let members: [(state: String, convolution: ShortConvolution)]

  /// `NAME_conv1d` for each name, its state "NAME convolution"; without a kernel size signals pass as they are.
  init(
    _ scope: ParameterScope, _ names: [String] = ["q", "k", "v"], channels: [Int], kernelSize: Int?,
    bias: Bool = false, activation: (String) -> Activation = { _ in .silu }
  ) {
    members = zip(names, channels).compactMap { name, channels in
      guard let kernelSize else { return nil }
      return (
        state: "\(name) convolution",
        convolution: ShortConvolution(
          scope("\(name)_conv1d"), channels: channels, kernelSize: kernelSize, bias: bias,
          activation: activation(name))
      )
    }
  }

  /// `conv1d` over one signal, its state "convolution".
  init(_ scope: ParameterScope, channels: Int, kernelSize: Int) {
    members = [
      ("convolution", ShortConvolution(scope("conv1d"), channels: channels, kernelSize: kernelSize))
    ]
  }

  func addInitialStates(batch: Int, to state: inout MixerState) {
    for (name, convolution) in members { state[name] = convolution.initialState(batch: batch) }
  }

  /// Signals of [batch, length, channels] to the same; their states move on.
  func callAsFunction(_ signals: [Tensor], state: inout MixerState) -> [Tensor] {
    if members.isEmpty { return signals }
    return zip(members, signals).map { $0.convolution($1, state: &state[$0.state]) }
  }

  /// The same from zero states, position by position.
  func reference(_ signals: [Tensor]) -> [Tensor] {
    if members.isEmpty { return signals }
    return zip(members, signals).map { $0.convolution.reference($1) }
  }
}
