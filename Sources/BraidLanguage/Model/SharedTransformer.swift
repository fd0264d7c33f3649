import BraidMixers
import BraidNN
import BraidTensor

/// Attention and feed-forward over the layer's input beside the embedding, whose weights several blocks share; each
/// use may have low-rank adapters of its own (Zamba2).
///
///     t = ffn_use(norm(attention_use(norm([x, e]))))
///
/// Source: Glorioso et al., "The Zamba2 suite", 2024.
public struct SharedTransformer: Sendable {
  public struct Configuration: Codable, Hashable, Sendable {
    /// The norm of the 2 x channels of input and embedding.
    public var inputNorm: Normalization
    public var attention: GroupedQueryAttention.Configuration
    public var feedForwardNorm: Normalization
    public var feedForward: FeedForward.Configuration

    public init(
      inputNorm: Normalization, attention: GroupedQueryAttention.Configuration,
      feedForwardNorm: Normalization, feedForward: FeedForward.Configuration
    ) {
      self.inputNorm = inputNorm
      self.attention = attention
      self.feedForwardNorm = feedForwardNorm
      self.feedForward = feedForward
    }
  }

  /// How a block uses it.
  public struct Use: Codable, Hashable, Sendable {
    public var transformer: Configuration
    /// The number of this use, among all uses in the model.
    public var number: Int
    /// The block that holds the weights.
    public var source: Int

    public init(_ transformer: Configuration, number: Int, source: Int) {
      self.transformer = transformer
      self.number = number
      self.source = source
    }
  }

  public let configuration: Configuration
  let inputNorm, feedForwardNorm: RMSNorm
  let attention: GroupedQueryAttention
  let feedForward: FeedForward

  init(_ scope: ParameterScope, _ c: Configuration) throws {
    configuration = c
    inputNorm = RMSNorm(scope("input_layernorm"), c.inputNorm)
    attention = try GroupedQueryAttention(scope("self_attn"), c.attention)
    feedForwardNorm = RMSNorm(scope("pre_ff_layernorm"), c.feedForwardNorm)
    feedForward = try FeedForward(scope("feed_forward"), c.feedForward)
  }

  /// [batch, length, channels] of the input x and the embedding e, both of that shape.
  func callAsFunction(_ x: Tensor, embedding e: Tensor, use: Int, state: inout MixerState) -> Tensor {
    let both = inputNorm(Tensor.concatenated([x, e], axis: -1))
    let hasAdapters = configuration.attention.heads.adapters != nil
    let attended = attention.prefill(both, state: &state, use: hasAdapters ? use : nil)
    return feedForward(feedForwardNorm(attended), use: configuration.feedForward.adapters != nil ? use : nil)
  }
}
