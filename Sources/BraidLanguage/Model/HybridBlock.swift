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

  /// [batch, length, channels] to the same shape, or to the last position of it; the embedding is of x's shape too.
  func callAsFunction(
    _ x: Tensor, embedding: Tensor, state: inout MixerState, keepsLast: Bool = false
  ) -> Tensor {
    var injected: Tensor?
    if let shared, let injection, let use = configuration.shared {
      injected = injection(
        shared(x, embedding: embedding, use: use.number, state: &state[child: Self.sharedName]))
    }
    var (y, input) = (x, x)
    let last = x.shape[1] - 1
    // Behind the last mixer every position stands for itself; what is injected joins the first step.
    let mixing = max((steps.lastIndex { $0.hasMixers } ?? -1) + 1, injected == nil ? 0 : 1)
    for (index, step) in steps.enumerated() {
      if index == mixing, keepsLast {
        (y, input) = (y.sliced(axis: 1, last..<last + 1), input.sliced(axis: 1, last..<last + 1))
      }
      y = step(y, injected: injected, blockInput: input, state: &state)
      injected = nil
    }
    state.position += x.shape[1]
    return keepsLast && mixing >= steps.count ? y.sliced(axis: 1, last..<last + 1) : y
  }
}
