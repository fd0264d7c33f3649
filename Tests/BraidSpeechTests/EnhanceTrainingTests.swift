import BraidCheckpoint
import BraidNN
import BraidTensor
import BraidTraining
import Foundation
import Testing

@testable import BraidSpeech

@Suite struct EnhanceTrainingTests {
  static let tiny = MambAttention.Configuration(
    channels: 4, blocks: 1, heads: 2, stateSize: 2, expansion: 1, frameSize: 64, hop: 32, maskNorm: false,
    denseDepth: 1, input: .complex, phase: .residual)

  private func recipe(steps: Int, metric: Float = 0) -> EnhanceTrainingConfiguration {
    EnhanceTrainingConfiguration(
      name: "tiny", summary: "A test.", card: ["licence": "none"], model: .mambattention(Self.tiny),
      mixture: NoisyMixtureConfiguration(seconds: metric > 0 ? 0.6 : 0.2),
      loss: EnhancementLoss(siSDR: 0.05, metric: metric), batch: 2,
      validationCount: 1, validationRatios: [0],
      plan: TrainingPlan(
        steps: steps, learningRate: LearningRateSchedule(shape: .constant, peak: 1e-3), checkpointEvery: 3,
        validateEvery: 3, logEvery: 1, seed: 4))
  }

  @Test(arguments: [0, 0.05] as [Float]) func aRunThatWasStoppedEndsWithTheSameBits(metric: Float) throws {
    let folders = try SpeechFolders()
    defer { folders.remove() }
    func run(_ folder: String, progress: (Trainer.Progress) -> Void = { _ in }) throws -> Data {
      let path = try EnhanceTraining.run(
        recipe(steps: 6, metric: metric), speech: [folders.speech], noise: [folders.noise],
        folder: folders.root + folder,
        progress: progress)
      return try #require(FileManager.default.contents(atPath: path))
    }
    let whole = try run("/whole")
    // What a kill between steps 4 and 5 leaves: the state of step 3.
    let state = folders.root + "/part/state.safetensors"
    var kept = Data()
    _ = try run("/part") { if $0.step == 4 { kept = FileManager.default.contents(atPath: state) ?? Data() } }
    try kept.write(to: URL(fileURLWithPath: state))
    #expect(try run("/part") == whole)

    let records = MetricLog(path: folders.root + "/part/metrics.jsonl").records()
    #expect(records.map(\.step) == [1, 2, 3, 4, 5, 6])
    #expect(records[5].values["siSDRGain"] != nil && records[5].values["estoi"] != nil)
    #expect(FileManager.default.fileExists(atPath: folders.root + "/part/curve.png"))

    let file = try Checkpoint.open(folders.root + "/whole/tiny.safetensors")
    #expect(!file.entries.contains { $0.key.hasPrefix("discriminator") })
    let description = try #require(try ModelDescription(file))
    #expect(description.card["licence"]?.stringValue == "none")
    let model = try EnhancementModelFile.model(for: description, source: "tiny")
    try model.parameters.load(from: file)
    #expect((model as? MambAttention)?.configuration == Self.tiny)
    #expect(model.enhanced(.zeros([1, 500])).floats == [Float](repeating: 0, count: 500))
  }

  @Test func senselessRecipesAreRefused() throws {
    let folders = try SpeechFolders(speechCount: 1, noiseCount: 1)
    defer { folders.remove() }
    func refused(_ change: (inout EnhanceTrainingConfiguration) -> Void) {
      var recipe = recipe(steps: 1)
      change(&recipe)
      #expect(throws: TrainingError.self) {
        try EnhanceTraining.run(
          recipe, speech: [folders.speech], noise: [folders.noise], folder: folders.root + "/run")
      }
    }
    refused { $0.batch = 0 }
    refused { $0.validationCount = -1 }
    refused { $0.loss.time = -1 }
    refused { $0.mixture.snr = [] }
    refused { $0.plan.steps = 0 }
    refused {
      $0.mixture.seconds = 0.1; $0.model = .mambattention(.init(frameSize: 8192, hop: 100))
    }
    for wrong in [
      MambAttention.Configuration(channels: 0), .init(heads: 5), .init(blocks: -1), .init(hop: 300),
      .init(frameSize: 402), .init(compression: .nan), .init(denseDepth: 0), .init(maskLimit: 0),
    ] { refused { $0.model = .mambattention(wrong) } }
  }

  @Test func configurationsOfEarlierFilesAreRead() throws {
    let old = #"{"channels":16,"blocks":1,"heads":8,"stateSize":16,"kernelSize":4,"expansion":4}"#
    let read = try JSONDecoder().decode(MambAttention.Configuration.self, from: Data(old.utf8))
    #expect(read == MambAttention.Configuration(channels: 16, blocks: 1))
    let again = try JSONDecoder().decode(
      MambAttention.Configuration.self, from: JSONEncoder().encode(Self.tiny))
    #expect(again == Self.tiny)
    let known = ["mambattention", "mambattention-stream"]
    #expect(throws: ModelDescriptionError.unknownArchitecture(source: "x", name: "hat", known: known)) {
      try EnhancementModelFile.model(
        for: ModelDescription(architecture: "hat", configuration: .object([])), source: "x")
    }
    #expect(throws: ModelDescriptionError.self) {
      try EnhancementModelFile.model(
        for: ModelDescription(
          architecture: "mambattention",
          configuration: .object([.init(name: "channels", value: .integer(-3))])), source: "x")
    }
  }

  @Test func aResidualPhaseStartsAsTheNoisyOne() throws {
    let model = try MambAttention(Self.tiny)
    model.parameters.initialize(seed: 1)
    var draw = Philox(seed: 2)
    let signal = Tensor.normal([1, 640], using: &draw)
    let (_, phase) = model.transform.polarSpectra(signal, gains: [1], compression: 0.3)
    let spectrum = model.estimate(signal).spectrum
    let angle = arctangent(spectrum.selected(axis: 3, 1), spectrum.selected(axis: 3, 0))
    #expect((angle - phase).sine().absolute().max().item < 1e-5)
  }
}
