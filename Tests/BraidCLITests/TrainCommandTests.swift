import Braid
import Foundation
import Testing

@Suite struct TrainCommandTests {
  let braid: BraidExecutable

  init() throws { braid = try BraidExecutable() }

  private static let recipe = """
    {"name": "tiny", "summary": "A test.",
     "model": {"architecture": "mambattention", "configuration": {"channels": 4, "blocks": 1, "heads": 2,
       "stateSize": 2, "expansion": 1, "frameSize": 64, "hop": 32, "denseDepth": 1, "phase": "residual"}},
     "mixture": {"seconds": 0.2}, "loss": {"siSDR": 0.05}, "batch": 2, "validationCount": 1,
     "plan": {"steps": 3, "learningRate": {"peak": 1e-3}, "validateEvery": 3, "logEvery": 1}}
    """

  private func recording(_ name: String, seed: UInt64) throws {
    let path = braid.folder + "/" + name
    try FileManager.default.createDirectory(
      atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
    let format = try AudioFormat(code: 0x10002, sampleRate: 16000, channels: 1)
      .forOutput(path, encoding: .pcm16, sampleRate: 16000)
    let writer = try AudioWriter(path, format: format)
    var draw = Philox(seed: seed)
    try writer.write((0..<16000).map { _ in draw.uniform(-0.3...0.3) })
    try writer.commit()
  }

  private func train(_ recipe: String, speech: String = "speech", noise: String = "noise") throws
    -> BraidExecutable.Run
  {
    try Data(recipe.utf8).write(to: URL(fileURLWithPath: braid.folder + "/recipe.json"))
    return try braid(
      "train", "enhance", "--config", "recipe.json", "--speech", speech, "--noise", noise, "-o", "run",
      "--json")
  }

  @Test func trainsAModelThatIsReadBack() throws {
    defer { braid.remove() }
    for i in 0..<3 { try recording("speech/\(i).wav", seed: UInt64(i)) }
    for i in 3..<5 { try recording("noise/\(i).flac", seed: UInt64(i)) }
    let run = try train(Self.recipe)
    #expect(run.status == 0, "\(run.errors)")
    let events = try run.events()
    #expect(events.first?["command"]?.stringValue == "train enhance")
    #expect(events.filter { $0["event"]?.stringValue == "metrics" }.count == 3)
    #expect(events.last?["output"]?.stringValue == "run/tiny.safetensors")
    let description = try #require(
      try ModelDescription(Checkpoint.open(braid.folder + "/run/tiny.safetensors")))
    #expect(try EnhancementModelFile.model(for: description, source: "tiny").sampleRate == 16000)
    // A finished run is finished.
    #expect(try train(Self.recipe).status == 0)
    // Another recipe does not go on with its state.
    let other = try train(Self.recipe.replacingOccurrences(of: "\"batch\": 2", with: "\"batch\": 3"))
    #expect(other.status == 65 && (other.output + other.errors).contains("does not fit this run"))
  }

  @Test func tellsWhatIsWrong() throws {
    defer { braid.remove() }
    try recording("speech/a.wav", seed: 1)
    try recording("noise/b.wav", seed: 2)
    try FileManager.default.createDirectory(
      atPath: braid.folder + "/empty", withIntermediateDirectories: true)
    func expect(_ run: BraidExecutable.Run, _ status: Int32, _ text: String) {
      #expect(run.status == status && (run.output + run.errors).contains(text), "\(run.output)\(run.errors)")
    }
    func changed(_ old: String, _ new: String) -> String {
      Self.recipe.replacingOccurrences(of: old, with: new)
    }
    expect(try train("{"), 65, "recipe.json")
    expect(try train(changed("mambattention", "hat")), 65, "model.architecture")
    expect(try train(changed("\"batch\": 2", "\"batch\": \"two\"")), 65, "batch")
    expect(try train(changed("\"channels\": 4", "\"channels\": -4")), 65, "channels")
    expect(try train(changed("\"seconds\": 0.2", "\"snr\": [3]")), 65, "snr")
    expect(try train(changed("\"residual\"", "\"none\"")), 65, "phase")
    expect(try train(Self.recipe, speech: "nowhere"), 66, "nowhere")
    expect(try train(Self.recipe, noise: "empty"), 66, "empty")
    let missing = try braid(
      "train", "enhance", "--config", "none.json", "--speech", "speech", "--noise", "noise", "-o", "run")
    expect(missing, 66, "none.json")
  }
}
