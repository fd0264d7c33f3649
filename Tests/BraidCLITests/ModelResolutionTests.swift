import Braid
import Foundation
import Testing

@Suite struct ModelResolutionTests {
  let braid: BraidExecutable

  init() throws { braid = try BraidExecutable() }

  private func store(_ braid: BraidExecutable) -> ModelStore {
    ModelStore(environment: ["BRAID_MODELS": braid.folder + "/models"])
  }

  private func tiny(scale: Int, features: Int = 8) -> HATConfiguration {
    var configuration = HATConfiguration(
      channels: 12, depths: [2, 1], heads: 2, window: 4, compressRatio: 3, squeezeFactor: 6, scale: scale)
    configuration.features = features
    return configuration
  }

  /// Writes a HAT's tensors as a published file has them: names and shapes, nothing about the configuration.
  @discardableResult
  private func write(_ configuration: HATConfiguration, to name: String) throws -> String {
    let model = HAT(configuration)
    model.parameters.initialize(seed: 3)
    let path = braid.folder + "/" + name
    try SafetensorsWriter.write(model.parameters.values, to: path)
    return path
  }

  @Test(arguments: [2, 3, 4], [0.5, 0.25, 1])
  func configurationsAreToldFromTensors(scale: Int, overlap: Double) throws {
    defer { braid.remove() }
    var configuration = tiny(scale: scale)
    configuration.overlapRatio = overlap
    configuration.mlpRatio = scale
    let path = try write(configuration, to: "tiny.safetensors")
    #expect(HATConfiguration(try Checkpoint.open(path)) == configuration)
    let loaded = try RestorationModelRequest(model: path).load(from: store(braid))
    #expect(loaded.model is HAT && loaded.model.scale == scale)
  }

  @Test func otherTensorsAreNotHAT() throws {
    defer { braid.remove() }
    let path = braid.folder + "/other.safetensors"
    try SafetensorsWriter.write([(key: "a", value: Tensor([1] as [Float]))], to: path)
    #expect(HATConfiguration(try Checkpoint.open(path)) == nil)
    #expect(throws: ModelError.unrecognizedArchitecture(path: path)) {
      try RestorationModelRequest(model: path).load(from: store(braid))
    }
  }

  @Test func theCatalogueDescribesThePublishedVariants() throws {
    defer { braid.remove() }
    let counts = [
      "hat-s-x2": 9_473_471, "hat-s-x3": 9_658_111, "hat-s-x4": 9_621_183, "hat-x2": 20_624_795,
      "hat-x3": 20_809_435, "hat-x4": 20_772_507, "hat-l-x2": 40_698_863, "hat-l-x3": 40_883_503,
      "hat-l-x4": 40_846_575, "real-hat-gan-x4": 20_772_507, "real-hat-gan-sharper-x4": 20_772_507,
    ]
    for (name, count) in counts {
      let entry = try #require(ModelCatalogue.entry(name))
      let description = try #require(entry.description)
      let model = try RestorationModelFile.model(for: description, source: name)
      #expect(model.parameters.parameterCount == count && model.scale == entry.scale, "\(name)")
    }
  }

  @Test func descriptionsInFilesCount() throws {
    defer { braid.remove() }
    var configuration = ContrastConfiguration()
    configuration.channels = 8
    configuration.blocks = 1
    configuration.heads = 2
    let model = Contrast(configuration)
    model.parameters.initialize(seed: 1)
    try FileManager.default.createDirectory(
      atPath: braid.folder + "/models", withIntermediateDirectories: true)
    let path = braid.folder + "/models/contrast-s-denoise.safetensors"
    try RestorationModelFile.write(model.parameters.values, of: model, name: "own", card: [:], to: path)
    // The standard model, now the user's; and the same file by its path.
    for name in [nil, "contrast-s-denoise", path] {
      let loaded = try RestorationModelRequest(model: name).load(from: store(braid))
      #expect((loaded.model as? Contrast)?.configuration == configuration && loaded.source == path)
    }
    // Other tensors in the same architecture; those of another one are refused.
    let loaded = try RestorationModelRequest(model: "contrast-s-denoise", weights: path).load(
      from: store(braid))
    #expect(loaded.source == path)
    let hat = try write(tiny(scale: 2), to: "hat.safetensors")
    #expect(throws: CheckpointError.self) {
      try RestorationModelRequest(weights: hat).load(from: store(braid))
    }
    #expect(throws: CheckpointError.self) {
      try RestorationModelRequest(model: "hat-s-x2", weights: hat).load(from: store(braid))
    }
    try braid.write("a.png")
    let run = try braid("restore", "a.png", "-o", "b.png", "--dtype", "bf16")
    #expect(run.status == 0 && run.output.contains("24 x 16 -> 24 x 16"))
  }

  @Test func hostileDescriptionsAreRefused() throws {
    defer { braid.remove() }
    let texts = [
      #"{"architecture":"hat","configuration":{"channels":1000000000}}"#,
      #"{"architecture":"hat","configuration":{}}"#, #"{"architecture":"nothing","configuration":{}}"#,
      #"{"architecture":"contrast","configuration":{"channels":0,"heads":0}}"#,
      #"{"architecture":"bicubic","configuration":{"scale":-1}}"#, #"{"architecture":1}"#, "[", "",
    ]
    try braid.write("a.png")
    for (index, text) in texts.enumerated() {
      let path = braid.folder + "/hostile\(index).safetensors"
      try SafetensorsWriter.write(
        [(key: "a", value: Tensor([1] as [Float]))], metadata: ["braid": text], to: path)
      #expect(throws: (any Error).self, "\(text)") {
        try RestorationModelRequest(model: path).load(from: store(braid))
      }
      let run = try braid("restore", "a.png", "-o", "b.png", "--model", path)
      #expect(run.status == 65, "\(text): \(run.status) \(run.errors)")
    }
  }

  @Test func theCommandTakesFilesFoldersAndExactTiles() throws {
    defer { braid.remove() }
    try write(tiny(scale: 2), to: "tiny.safetensors")
    try FileManager.default.createDirectory(atPath: braid.folder + "/dir", withIntermediateDirectories: true)
    try write(tiny(scale: 2), to: "dir/model.safetensors")
    try braid.write("a.png", width: 50, height: 37, channels: 4)
    for (index, options) in [
      ["--model", "tiny.safetensors"], ["--model", "dir"],
      ["--model", "tiny.safetensors", "--tile", "0", "--exact"],
      ["--model", "tiny.safetensors", "--tile", "16", "--exact"],
    ].enumerated() {
      let run = try braid.run(["restore", "a.png", "-o", "\(index).png"] + options)
      #expect(run.status == 0, "\(run.errors)")
    }
    func samples(_ index: Int) throws -> [Float] {
      try ImageReader.read("\(braid.folder)/\(index).png").floats()
    }
    let whole = try samples(0)
    #expect(try samples(1) == whole)
    #expect(try samples(2) == whole)
    do {
      #expect(zip(try samples(3), whole).allSatisfy { abs($0 - $1) < 1.01 / 255 })
    }
    let wrong = try braid("restore", "a.png", "-o", "w.png", "--model", "tiny.safetensors", "--scale", "3")
    #expect(wrong.status == 64 && wrong.errors.contains("built for scale 2, not 3"))
    let mismatch = try braid(
      "restore", "a.png", "-o", "w.png", "--model", "hat-s-x2", "--weights", "tiny.safetensors")
    #expect(mismatch.status == 65 && mismatch.errors.contains("of another shape"))
    let added = try braid("models", "add", "tiny.safetensors", "--name", "hat-s-x2")
    #expect(added.status == 65)
  }
}
