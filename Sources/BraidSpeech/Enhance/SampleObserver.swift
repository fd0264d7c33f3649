/// Looks at a recording on its way through a pipeline.
public protocol SampleObserver: AnyObject {
  /// Is shown samples before and after, interleaved at the output's rate, in order.
  func observe(noisy: [Float], enhanced: [Float])
}
