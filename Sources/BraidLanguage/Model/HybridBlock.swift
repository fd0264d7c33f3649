import BraidMixers
import BraidNN
import BraidTensor

/// One block of a language model: residual steps, and perhaps a transformer that it shares with others.
public struct HybridBlock: Sendable {
  public struct Configuration: Codable, Hashable, Sendable {
    public var steps: [ResidualStep.Configuration]
    /// What is added, through a matrix, to the input of the first step's norm.
    public var shared: SharedTransformer.Use?

    public init(_ steps: [ResidualStep.Configuration], shared: SharedTransformer.Use? = nil) {
      self.steps = steps
      self.shared = shared
    }
  }

  static let sharedName = "shared_transformer"
  private static let injectionName = "linear"

  public let configuration: Configuration
  private let steps: [ResidualStep]
  /// The shared transformer, the block's own or another's.
  let shared: SharedTransformer?
  private let injection: Linear?

  /// - Parameter lent: the shared transformer of the block that holds it, where that is another one.
  init(_ scope: ParameterScope, _ c: Configuration, channels: Int, lent: SharedTransformer?) throws {
    configuration = c
    if let use = c.shared {
      shared = try lent ?? SharedTransformer(scope(Self.sharedName), use.transformer)
      injection = Linear(scope(Self.injectionName), inputs: channels, outputs: channels, bias: false)
    } else {
      shared = nil
      injection = nil
    }
    steps = try c.steps.map { try ResidualStep(scope, $0) }
  }

  func initialState(batch: Int) -> MixerState {
    var state = MixerState()
    for step in steps { step.addInitialStates(batch: batch, to: &state) }
    if let shared { state.children[Self.sharedName] = shared.attention.initialState(batch: batch) }
    return state
  }

  /// [batch, length, channels] to the same shape; the embedding is of that shape too.
  func callAsFunction(_ x: Tensor, embedding: Tensor, state: inout MixerState) -> Tensor {
    var injected: Tensor?
    if let shared, let injection, let use = configuration.shared {
      injected = injection(
        shared(x, embedding: embedding, use: use.number, state: &state[child: Self.sharedName]))
    }
    var y = x
    for step in steps {
      y = step(y, injected: injected, blockInput: x, state: &state)
      injected = nil
    }
    state.position += x.shape[1]
    return y
  }
}
