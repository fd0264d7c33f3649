import BraidMixers
import BraidNN
import BraidTensor

/// One residual step of a block: norm, one or several parts beside each other, norm, sum.
///
///     n = norm(x + injected);   y = norm'(Σ_i o_i part_i(i_i n));   x ← r (x or n) + s y
///
/// Norms may be absent, factors are 1 unless said otherwise, and the sum starts from n in MiniMax alone.
public struct ResidualStep: Sendable {
  /// What stands in a step.
  public struct Part: Codable, Hashable, Sendable {
    public enum Kind: Codable, Hashable, Sendable {
      case mixer(MixerDescription)
      case feedForward(FeedForward.Configuration)
      case experts(MixtureOfExperts.Configuration)
    }

    /// Where its parameters and its state are, below the block.
    public var name: String
    public var kind: Kind
    public var inputScale: Float
    public var outputScale: Float

    public init(_ name: String, _ kind: Kind, inputScale: Float = 1, outputScale: Float = 1) {
      self.name = name
      self.kind = kind
      self.inputScale = inputScale
      self.outputScale = outputScale
    }
  }

  public struct Configuration: Codable, Hashable, Sendable {
    public var norm: Normalization.Named?
    public var parts: [Part]
    public var outputNorm: Normalization.Named?
    /// Whether the sum starts from the normalised input.
    public var keepsNormalized: Bool
    public var residualScale: Float
    public var outputScale: Float
    /// Whether experts are chosen by the input of the whole block (SmallThinker).
    public var routesByBlockInput: Bool

    public init(
      norm: Normalization.Named?, parts: [Part], outputNorm: Normalization.Named? = nil,
      keepsNormalized: Bool = false, residualScale: Float = 1, outputScale: Float = 1,
      routesByBlockInput: Bool = false
    ) {
      self.norm = norm
      self.parts = parts
      self.outputNorm = outputNorm
      self.keepsNormalized = keepsNormalized
      self.residualScale = residualScale
      self.outputScale = outputScale
      self.routesByBlockInput = routesByBlockInput
    }
  }

  private enum Layer: Sendable {
    case mixer(any CausalMixer)
    case feedForward(FeedForward)
    case experts(MixtureOfExperts)
  }

  public let configuration: Configuration
  private let norm, outputNorm: RMSNorm?
  private let layers: [Layer]

  init(_ scope: ParameterScope, _ configuration: Configuration) throws {
    self.configuration = configuration
    norm = configuration.norm.map { RMSNorm(scope, $0) }
    layers = try configuration.parts.map { part in
      switch part.kind {
      case .mixer(let description): .mixer(try description.make(scope(part.name)))
      case .feedForward(let own): .feedForward(try FeedForward(scope(part.name), own))
      case .experts(let own): .experts(try MixtureOfExperts(scope(part.name), own))
      }
    }
    outputNorm = configuration.outputNorm.map { RMSNorm(scope, $0) }
  }

  /// Whether a position's output depends on others.
  var hasMixers: Bool {
    layers.contains { if case .mixer = $0 { true } else { false } }
  }

  /// Adds the states of the step's mixers.
  func addInitialStates(batch: Int, to state: inout MixerState) {
    for (part, layer) in zip(configuration.parts, layers) {
      if case .mixer(let mixer) = layer { state.children[part.name] = mixer.initialState(batch: batch) }
    }
  }

  /// The step's output for x [batch, length, channels]; `state` is the block's.
  func callAsFunction(
    _ x: Tensor, injected: Tensor? = nil, blockInput: Tensor, state: inout MixerState
  ) -> Tensor {
    let c = configuration
    let source = injected.map { x + $0 } ?? x
    let n = norm.map { $0(source) } ?? source
    let kept = c.keepsNormalized ? n : x
    let carried = c.residualScale == 1 ? kept : kept * c.residualScale
    if case .feedForward(let own)? = layers.first, layers.count == 1, c.parts[0].outputScale == 1,
      outputNorm == nil, c.outputScale == 1
    {
      let scale = c.parts[0].inputScale
      return own(scale == 1 ? n : n * scale, residual: carried)
    }
    var sum: Tensor?
    for (part, layer) in zip(c.parts, layers) {
      let input = part.inputScale == 1 ? n : n * part.inputScale
      var y: Tensor
      switch layer {
      case .mixer(let mixer):
        y =
          x.shape[1] == 1
          ? mixer.step(input, state: &state[child: part.name])
          : mixer.prefill(input, state: &state[child: part.name])
      case .feedForward(let own): y = own(input)
      case .experts(let own): y = own(input, route: c.routesByBlockInput ? own.route(blockInput) : nil)
      }
      if part.outputScale != 1 { y = y * part.outputScale }
      sum = sum.map { $0 + y } ?? y
    }
    guard var y = sum else { return x }
    if let outputNorm { y = outputNorm(y) }
    if c.outputScale != 1 { y = y * c.outputScale }
    return carried + y
  }
}
