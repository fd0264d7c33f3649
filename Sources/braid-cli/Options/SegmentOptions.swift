import ArgumentParser
import Braid

/// How much of a recording the model sees at once.
struct SegmentOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Longest segment in seconds; 0 is the whole recording (BRAID_SEGMENT; default: 20; published models: what --memory allows).",
      valueName: "SECONDS"))
  var segment: Double?

  @Option(
    help: ArgumentHelp(
      "Seconds that neighbouring segments share, cross-faded; at most a quarter of a segment.",
      valueName: "SECONDS"))
  var segmentOverlap = 1.0

  @Option(
    help: ArgumentHelp(
      "Memory for the model's work, such as 512M or 2G (BRAID_MEMORY; default: 2G, or half of what is free).",
      valueName: "SIZE"))
  var memory: ByteCount?

  func validate() throws {
    if let segment, !Self.isSensible(segment) { throw ValidationError("--segment must be 0, or 0.1 to 1e6.") }
    guard (0...3600).contains(segmentOverlap) else {
      throw ValidationError("--segment-overlap must be 0 to 3600.")
    }
  }

  private static func isSensible(_ seconds: Double) -> Bool { seconds == 0 || (0.1...1e6).contains(seconds) }

  /// The options of a run, so far as they are about segments.
  func options() throws -> EnhanceOptions {
    let seconds = try EnvironmentDefault.value(segment, "BRAID_SEGMENT")
    if let seconds, !Self.isSensible(seconds) {
      throw Failure.usage("the environment's BRAID_SEGMENT is \(seconds), but must be 0, or 0.1 to 1e6")
    }
    let segments: EnhanceOptions.Segments = seconds.map { $0 == 0 ? .whole : .seconds($0) } ?? .automatic
    return EnhanceOptions(
      segments: segments, overlap: segmentOverlap,
      memoryBudget: try EnvironmentDefault.value(memory, "BRAID_MEMORY")?.count)
  }
}
