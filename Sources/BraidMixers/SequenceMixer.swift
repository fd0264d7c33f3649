import BraidNN
import BraidTensor

/// A layer that mixes the positions of a sequence: [batch, length, channels] to the same shape.
///
/// A mixer's file holds, in this order: its recurrence as a doc comment with shapes and source; `Configuration`;
/// the parameters, under their published names; `reference`; the fast form; and for causal mixers
/// the state. One line in `MixerRegistry` makes it known, and the conformance tests then run over it.
public protocol SequenceMixer: Sendable {
  /// What a configuration file says of it; the number of channels is part of it.
  associatedtype Configuration: Codable, Hashable, Sendable

  /// The name in configurations and in the registry: lower case, words joined by hyphens.
  static var name: String { get }

  /// Small configurations that together reach every path of the code; the conformance tests run over each.
  static var examples: [Configuration] { get }

  /// Declares the parameters.
  /// - Throws: `MixerError.configuration` where the configuration contradicts itself.
  init(_ scope: ParameterScope, _ configuration: Configuration) throws

  var configuration: Configuration { get }

  /// The channels of input and output.
  var channels: Int { get }

  /// The literal loop over positions: the executable definition, slow and plain.
  func reference(_ x: Tensor) -> Tensor

  /// The fast form: the same function.
  func callAsFunction(_ x: Tensor) -> Tensor
}

/// A mixer whose output at a position depends on this and earlier positions alone, so that a sequence may come in
/// pieces, the past standing in a state.
public protocol CausalMixer: SequenceMixer {
  /// The state before the first position. Every tensor of it has the batch as its first axis.
  func initialState(batch: Int) -> MixerState

  /// The output for the next positions x [batch, length, channels], length at least 1; the state moves past them.
  /// Gradients flow through the state's tensors where one of them asks for it.
  func prefill(_ x: Tensor, state: inout MixerState) -> Tensor

  /// The output for one position x [batch, 1, channels]: what `prefill` gives, and `prefill` itself where nothing
  /// cheaper is known.
  func step(_ x: Tensor, state: inout MixerState) -> Tensor
}

extension CausalMixer {
  public func callAsFunction(_ x: Tensor) -> Tensor {
    var state = initialState(batch: x.shape[0])
    return prefill(x, state: &state)
  }

  public func step(_ x: Tensor, state: inout MixerState) -> Tensor { prefill(x, state: &state) }
}

/// A mixer over the positions of a map: [batch, height, width, channels] to the same shape.
public protocol MapMixer: SequenceMixer {}
