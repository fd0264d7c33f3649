/// How a recording is taken through a model.
public struct EnhanceOptions: Sendable, Hashable {
  /// How much of a recording the model sees at once.
  public enum Segments: Sendable, Hashable {
    /// As much as the memory budget allows, and at most the model's `longestSegment`.
    case automatic
    case whole
    /// At most so many seconds.
    case seconds(Double)
  }

  public var segments = Segments.automatic
  /// Seconds that neighbouring segments share, over which they are cross-faded; at most a quarter of a segment.
  public var overlap = 1.0
  /// Bytes that the model's tensors may take; nil is `MemoryBudget.standard`.
  public var memoryBudget: Int?
  /// The most that anything is attenuated, in dB: so much of the input is mixed back in. Nil is no limit.
  public var attenuationLimit: Double?
  /// One gain over time and frequency for all channels, so that they keep their places: the root of the ratio of the
  /// channels' energies after and before.
  public var sharesMask = false
  /// Whether the model must work on a stream; one that can does so in any case.
  public var streams = false
  /// Samples a second of the output.
  public var outputRate: OutputRate = .input

  public enum OutputRate: Sendable, Hashable {
    case input
    case model
  }

  public init(
    segments: Segments = .automatic, overlap: Double = 1, memoryBudget: Int? = nil,
    attenuationLimit: Double? = nil, sharesMask: Bool = false, streams: Bool = false,
    outputRate: OutputRate = .input
  ) {
    self.segments = segments
    self.overlap = overlap
    self.memoryBudget = memoryBudget
    self.attenuationLimit = attenuationLimit
    self.sharesMask = sharesMask
    self.streams = streams
    self.outputRate = outputRate
  }
}
