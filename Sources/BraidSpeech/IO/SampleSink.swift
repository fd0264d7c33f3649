/// Something that samples are written to, block by block.
public protocol SampleSink: AnyObject {
  /// Whether samples beyond full scale are clipped.
  var clips: Bool { get }

  /// Appends samples, interleaved [frames, channels]; what is written is on its way when this returns.
  func write(_ samples: [Float]) throws
  /// Ends the output; a file gets its name only now.
  func commit() throws
}

extension AudioWriter: SampleSink {}
