import BraidMixers
import BraidTensor

extension HybridLM {
  /// The mean cross-entropy of the next token, over texts of equal length: a number with gradients.
  ///
  /// - Parameters:
  ///   - texts: ids [batch, length], length at least 2; a negative id is taken in as id 0 and not predicted.
  ///   - state: what comes before the texts; nothing where nil.
  public func loss(_ texts: Tensor, from state: MixerState? = nil) -> Tensor {
    precondition(texts.rank == 2 && texts.shape[1] > 1, "HybridLM.loss: texts of \(texts.shape)")
    let length = texts.shape[1]
    let given = texts.detached.sliced(axis: 1, 0..<length - 1).elements(as: Int64.self)
    let wanted = texts.detached.sliced(axis: 1, 1..<length).contiguous()
    var state = state ?? initialState(batch: texts.shape[0])
    let inputs = Tensor(given.map { max($0, 0) }, shape: [texts.shape[0], length - 1])
    let errors = self(inputs, state: &state).softmaxCrossEntropy(labels: wanted)
    let counted = wanted.elements(as: Int64.self).reduce(0) { $0 + ($1 >= 0 ? 1 : 0) }
    return errors.sum() * (1 / Float(max(counted, 1)))
  }

  /// As `loss(_:from:)`, of lists of equal length.
  /// - Throws: `LanguageModelError` for ids outside of the vocabulary.
  public func loss(_ texts: [[Int]], from state: MixerState? = nil) throws -> Tensor {
    for text in texts { try validate(text) }
    guard let length = texts.first?.count, length > 1, texts.allSatisfy({ $0.count == length }) else {
      throw LanguageModelError.tokens(
        path: "texts", reason: "expected texts of one length, at least 2, found \(texts.map(\.count))")
    }
    let ids = Tensor(texts.joined().map { Int64($0) }, shape: [texts.count, length])
    return loss(ids, from: state)
  }
}
