import BraidNN
import BraidTensor

/// Several causal mixers beside each other on the same input, their outputs added with multipliers.
///
///     y = Σ_i o_i mixer_i(a_i x)
///
/// x [batch, length, channels]. Each part's parameters and state are under its name.
/// Source: Technology Innovation Institute, "Falcon-H1", 2025 (Mamba-2 beside attention); Dong et al., "Hymba", 2024.
public struct ParallelHeads: CausalMixer {
  public struct Part: Codable, Hashable, Sendable {
    public var name: String
    public var mixer: NamedMixer
    /// a
    public var inputScale: Float
    /// o
    public var outputScale: Float

    public init(_ name: String, _ mixer: NamedMixer, inputScale: Float = 1, outputScale: Float = 1) {
      self.name = name
      self.mixer = mixer
      self.inputScale = inputScale
      self.outputScale = outputScale
    }
  }

  public struct Configuration: Codable, Hashable, Sendable {
    public var parts: [Part]
    public init(_ parts: [Part]) { self.parts = parts }
  }

  public static let name = "parallel-heads"
  public static let examples = [
    Configuration([
      Part("mamba", .init(Mamba.self, .init(channels: 8, stateSize: 4)), outputScale: 0.7),
      Part(
        "self_attn",
        .init(GroupedQueryAttention.self, .init(.init(channels: 8, heads: 4, keyHeads: 2), window: 20)),
        inputScale: 1.3, outputScale: 0.4),
    ])
  ]

  public let configuration: Configuration
  public let channels: Int
  private let mixers: [any CausalMixer]

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try MixerError.require(
      !c.parts.isEmpty && Set(c.parts.map(\.name)).count == c.parts.count
        && c.parts.allSatisfy { !$0.name.isEmpty && $0.inputScale.isFinite && $0.outputScale.isFinite },
      Self.name, "the parts \(c.parts.map(\.name)) have names of their own and finite scales")
    configuration = c
    mixers = try c.parts.map { part in
      guard let mixer = try part.mixer.make(scope(part.name)) as? any CausalMixer else {
        throw MixerError.configuration(
          mixer: Self.name, reason: "\(part.name): \(part.mixer.mixer) is not causal")
      }
      return mixer
    }
    channels = mixers[0].channels
    try MixerError.require(
      mixers.allSatisfy { $0.channels == mixers[0].channels }, Self.name,
      "the parts have \(mixers.map(\.channels)) channels")
  }

  private func sum(_ x: Tensor, _ mixed: (any CausalMixer, Tensor, String) -> Tensor) -> Tensor {
    var sum: Tensor?
    for (part, mixer) in zip(configuration.parts, mixers) {
      let y = mixed(mixer, part.inputScale == 1 ? x : x * part.inputScale, part.name)
      let scaled = part.outputScale == 1 ? y : y * part.outputScale
      sum = sum.map { $0 + scaled } ?? scaled
    }
    return sum!
  }

  public func reference(_ x: Tensor) -> Tensor { sum(x) { mixer, x, _ in mixer.reference(x) } }

  public func initialState(batch: Int) -> MixerState {
    MixerState(
      children: Dictionary(
        uniqueKeysWithValues: zip(configuration.parts, mixers).map {
          ($0.name, $1.initialState(batch: batch))
        }))
  }

  public func prefill(_ x: Tensor, state: inout MixerState) -> Tensor {
    state.position += x.shape[1]
    return sum(x) { mixer, x, name in mixer.prefill(x, state: &state[child: name]) }
  }

  public func step(_ x: Tensor, state: inout MixerState) -> Tensor {
    state.position += 1
    return sum(x) { mixer, x, name in mixer.step(x, state: &state[child: name]) }
  }
}
