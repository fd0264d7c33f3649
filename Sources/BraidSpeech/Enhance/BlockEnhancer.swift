/// Enhances recordings at the model's rate as their samples come: blocks of any size in, what is ready out.
///
/// All that came out at the end is as long as all that went in.
protocol BlockEnhancer {
  /// Parts that the model saw so far; 0 where it knows no parts.
  var segmentCount: Int { get }

  /// What is ready of each channel, after these samples of each channel. With `isLast`, all of it.
  mutating func process(_ channels: [[Float]], isLast: Bool) async throws -> [[Float]]
}
