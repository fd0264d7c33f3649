/// Something that samples are read from, block by block.
public protocol SampleSource: AnyObject {
  /// The file's path, "-" for a standard stream.
  var path: String { get }
  var format: AudioFormat { get }
  /// Samples of a channel, where that is known before they are read.
  var declaredLength: Int? { get }
  /// Samples that were not numbers and were read as 0.
  var replacedSamples: Int { get }
  /// What is missing of what a header promises; known once all was read.
  var shortfall: AudioShortfall? { get }

  /// The next samples, interleaved [frames, channels], at most `frames` of them; empty at the end.
  func read(_ frames: Int) throws -> [Float]
}

extension SampleSource {
  public var shortfall: AudioShortfall? { nil }
}

extension AudioReader: SampleSource {}
