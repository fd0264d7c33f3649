import BraidMixers
import BraidNN
import BraidTensor

/// The states before the first token as parameters, all weights of the model frozen: tuning of the initial state.
///
/// Recurrent states and the windows of convolutions start from zeros and are learnt; caches of attention, which start
/// empty, stay so. A parameter is [1, ...] under the name that its tensor has in the state, and serves every text of
/// a batch.
/// Source: Galim et al., "Parameter-efficient fine-tuning of state space models", 2024 (state-offset and initial
/// state tuning).
public struct TrainedInitialState: Sendable {
  public let model: HybridLM
  /// The initial states by name, for a `Trainer`.
  public let store: ParameterStore
  private let parameters: [String: Parameter]

  /// Zero states, as of a model without them.
  /// - Parameter includes: whether a tensor of the state is learnt; all that are not empty where nil.
  public init(of model: HybridLM, includes: ((_ name: String) -> Bool)? = nil) {
    self.model = model
    store = ParameterStore()
    var parameters: [String: Parameter] = [:]
    for (name, tensor) in model.initialState(batch: 1).tensors
    where tensor.elementCount > 0 && tensor.dtype == .float32 && includes?(name) ?? true {
      parameters[name] = store.root.parameter(name, tensor.shape, init: .zeros)
    }
    self.parameters = parameters
    store.initialize(seed: 0)
    for (name, tensor) in model.initialState(batch: 1).tensors {
      parameters[name]?.assign(tensor.duplicated())
    }
    model.store.freeze()
  }

  /// The state before the first token of `batch` texts.
  public func state(batch: Int) -> MixerState {
    model.initialState(batch: batch).mapped { name, tensor in
      guard let own = parameters[name]?.value else { return tensor }
      return batch == 1
        ? own : own.broadcast(to: Shape([batch] + own.shape.dimensions.dropFirst())).contiguous()
    }
  }

  /// The mean cross-entropy of the next token of texts [batch, length] that start from the learnt states.
  public func loss(_ texts: Tensor) -> Tensor { model.loss(texts, from: state(batch: texts.shape[0])) }
}
