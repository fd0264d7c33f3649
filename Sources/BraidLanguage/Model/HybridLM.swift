import BraidMixers
import BraidNN
import BraidTensor

/// A language model composed from mixers by its configuration: token ids to the logits of the next token.
///
/// All that it remembers of a text is one `MixerState` with a part for each block; texts may come in pieces.
public final class HybridLM: Sendable {
  public let configuration: HybridLMConfiguration
  /// The parameters, under the keys of the published checkpoint.
  public let store: ParameterStore
  let embedding: Embedding
  let blocks: [HybridBlock]
  let finalNorm: RMSNorm
  /// The last product; nil where the embedding's rows serve.
  let head: Linear?

  /// The model without values: load or initialise `store`.
  /// - Throws: `MixerError.configuration` where a part contradicts itself.
  public init(_ configuration: HybridLMConfiguration) throws {
    self.configuration = configuration
    let c = configuration
    try MixerError.require(
      c.vocabulary > 0 && c.channels > 0, "language model",
      "a vocabulary of \(c.vocabulary) and \(c.channels) channels")
    store = ParameterStore()
    let root = store.root
    embedding = Embedding(
      root(c.names.embedding), count: c.vocabulary, channels: c.channels, init: .normal(0.02))
    var blocks: [HybridBlock] = []
    for (index, block) in c.blocks.enumerated() {
      var lent: SharedTransformer?
      if let source = block.shared?.source, source != index {
        try MixerError.require(
          source >= 0 && source < index && blocks[source].shared != nil, "language model",
          "block \(index) shares the transformer of block \(source), which has none")
        lent = blocks[source].shared
      }
      blocks.append(
        try HybridBlock(root(c.names.blocks)(index), block, channels: c.channels, lent: lent))
    }
    self.blocks = blocks
    finalNorm = RMSNorm(root(c.names.finalNorm), c.finalNorm)
    head =
      c.tiesEmbedding
      ? nil
      : Linear(
        root(c.names.head), inputs: c.channels, outputs: c.vocabulary, bias: false, init: .normal(0.02))
  }

  /// The state before the first token of `batch` texts.
  ///
  /// "pending" holds tokens that belong to the text but were not taken in yet: the last one generated.
  public func initialState(batch: Int) -> MixerState {
    var state = MixerState(["pending": .zeros([batch, 0], dtype: .int64)])
    for (index, block) in blocks.enumerated() {
      state.children[Self.part(index)] = block.initialState(batch: batch)
    }
    return state
  }

  /// The name of a block's part of the state.
  static func part(_ index: Int) -> String { "layers.\(index)" }

  /// The last layer's normalised outputs [batch, length, channels] of ids [batch, length]; the state moves past them.
  ///
  /// - Parameter keepsLast: whether only the last position is wanted, [batch, 1, channels]: what the last block does
  ///   behind its mixers is then left out elsewhere.
  public func features(_ ids: Tensor, state: inout MixerState, keepsLast: Bool = false) -> Tensor {
    precondition(ids.rank == 2 && ids.shape[1] > 0, "HybridLM: ids of \(ids.shape)")
    var e = embedding(ids)
    if configuration.embeddingScale != 1 { e = e * configuration.embeddingScale }
    var x = e
    for (index, block) in blocks.enumerated() {
      x = block(
        x, embedding: e, state: &state[child: Self.part(index)],
        keepsLast: keepsLast && index == blocks.count - 1)
    }
    state.position += ids.shape[1]
    return finalNorm(x)
  }

  /// Logits [..., vocabulary] of features [..., channels].
  public func logits(_ features: Tensor) -> Tensor {
    let y = head.map { $0(features) } ?? embedding.logits(features)
    return configuration.logitsScale == 1 ? y : y * configuration.logitsScale
  }

  /// Logits [batch, length, vocabulary] of ids [batch, length]; the state moves past them.
  public func callAsFunction(_ ids: Tensor, state: inout MixerState) -> Tensor {
    logits(features(ids, state: &state))
  }

  /// Throws `LanguageModelError.token` for the first id that is none of the vocabulary's.
  public func validate(_ tokens: [Int]) throws {
    if let position = tokens.firstIndex(where: { $0 < 0 || $0 >= configuration.vocabulary }) {
      throw LanguageModelError.token(
        id: tokens[position], position: position, vocabulary: configuration.vocabulary)
    }
  }
}
