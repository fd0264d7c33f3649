/// What came of one recording.
public struct EnhanceResult: Sendable, Hashable {
  public var input: AudioFormat
  public var output: AudioFormat
  /// Samples a second of the model; where it differs from a recording's, libsamplerate changed the rate.
  public var modelRate: Int
  /// Samples of a channel that went in and came out.
  public var inputLength: Int
  public var outputLength: Int
  /// Parts that the model saw; 1 where it saw the whole; 0 for a stream.
  public var segments: Int
  /// Samples that were not numbers and were read as 0.
  public var replacedSamples: Int
  /// Samples beyond full scale, clipped where the output stores integers.
  public var samplesBeyondScale: Int
  /// What the input lacks of what its header promises.
  public var shortfall: AudioShortfall?
  /// Seconds that it took.
  public var seconds: Double

  /// Seconds that the recording lasts.
  public var duration: Double { Double(inputLength) / Double(input.sampleRate) }
}
