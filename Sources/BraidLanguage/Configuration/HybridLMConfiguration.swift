import BraidMixers

/// A language model as a list of blocks: what the readers of the published configurations produce, and all that
/// `HybridLM` knows.
public struct HybridLMConfiguration: Codable, Hashable, Sendable {
  /// The keys of the tensors outside of the blocks.
  public struct Names: Codable, Hashable, Sendable {
    public var embedding = "model.embed_tokens"
    /// The prefix of block i is `blocks.i`.
    public var blocks = "model.layers"
    public var finalNorm = "model.norm"
    public var head = "lm_head"

    public init() {}
  }

  public var modelType: String
  public var vocabulary: Int
  public var channels: Int
  public var names: Names
  public var blocks: [HybridBlock.Configuration]
  public var finalNorm: Normalization
  /// Whether the rows of the embedding are those of the last product too.
  public var tiesEmbedding: Bool
  public var embeddingScale: Float
  public var logitsScale: Float
  /// Ids that end a text.
  public var endOfSequence: [Int]
  /// Older forms of published keys.
  public var keyAliases: [KeyReplacement]

  /// One difference of naming: `published`, at the start of a key or (beginning with a dot) within one, stands for
  /// `own`.
  public struct KeyReplacement: Codable, Hashable, Sendable {
    public var published: String
    public var own: String

    public init(published: String, own: String) {
      self.published = published
      self.own = own
    }
  }

  public init(
    modelType: String, vocabulary: Int, channels: Int, names: Names = Names(),
    blocks: [HybridBlock.Configuration], finalNorm: Normalization, tiesEmbedding: Bool,
    embeddingScale: Float = 1, logitsScale: Float = 1, endOfSequence: [Int] = [],
    keyAliases: [KeyReplacement] = []
  ) {
    self.modelType = modelType
    self.vocabulary = vocabulary
    self.channels = channels
    self.names = names
    self.blocks = blocks
    self.finalNorm = finalNorm
    self.tiesEmbedding = tiesEmbedding
    self.embeddingScale = embeddingScale
    self.logitsScale = logitsScale
    self.endOfSequence = endOfSequence
    self.keyAliases = keyAliases
  }
}
