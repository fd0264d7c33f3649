import BraidTensor
import Foundation
import Testing

@testable import BraidCheckpoint

@Suite struct ModelStoreTests {
  private struct Configuration: Codable, Equatable {
    var channels = 48
    var ratio = 0.1
    var name = "a\"b\n"
    var layers: [Int] = [2, 2]
    var option: Bool? = nil
  }

  private func store(_ body: (ModelStore, String) throws -> Void) throws {
    try Fixture.withFolder { folder in
      try body(ModelStore(environment: ["BRAID_MODELS": folder + "models", "HOME": folder + "home"]), folder)
    }
  }

  @Test func aModelIsAddedFoundAndVerified() throws {
    try store { store, folder in
      #expect(store.list().isEmpty)
      let file = Fixture.folder + "averaged.zip.pth"
      let path = try store.add(file, name: "My-Model.1")
      #expect(path == folder + "models/My-Model.1.pth")
      #expect(FileManager.default.contents(atPath: path) == FileManager.default.contents(atPath: file))
      #expect(store.list().map(\.name) == ["My-Model.1"])
      #expect(try store.open("My-Model.1").weightsKey == "params_ema")
      let verification = try store.verify("My-Model.1")
      #expect(verification.isRecorded && verification.tensorCount == 7)
      #expect(throws: ModelStoreError.exists(name: "My-Model.1", path: path)) {
        try store.add(file, name: "My-Model.1")
      }
      try SafetensorsWriter.write([(key: "a", value: Tensor([1] as [Float]))], to: folder + "a")
      try store.add(folder + "a", name: "My-Model.1", overwrite: true)
      #expect(store.list().map(\.place.path) == [folder + "models/My-Model.1.safetensors"])
      #expect(try store.verify("My-Model.1").isRecorded)
      #expect(
        try FileManager.default.contentsOfDirectory(atPath: folder + "models").sorted()
          == ["My-Model.1.safetensors", "My-Model.1.sha256"])
    }
  }

  @Test func damageIsFound() throws {
    try store { store, folder in
      let path = try store.add(Fixture.folder + "blocks.zip.pth", name: "m")
      var bytes = [UInt8](FileManager.default.contents(atPath: path)!)
      bytes[bytes.count / 2] ^= 1
      try Fixture.write(bytes, path)
      let error = #expect(throws: ModelStoreError.self) { try store.verify("m") }
      #expect(try #require(error).description.contains("SHA-256"))
      try SafetensorsWriter.write([(key: "a", value: Tensor([1, .infinity] as [Float]))], to: folder + "a")
      let other = #expect(throws: CheckpointError.self) { try store.add(folder + "a", name: "n") }
      #expect(try #require(other).description.contains("not finite (element 1)"))
      #expect(store.place("n") == nil)
    }
  }

  @Test(arguments: [
    "", ".", "..", "a/b", "../a", "a b", "a\u{0}b", "-a", ".a", "é", String(repeating: "a", count: 101),
  ])
  func namesAreChecked(_ name: String) throws {
    try store { store, _ in
      #expect(throws: ModelStoreError.invalidName(name)) {
        try store.add(Fixture.folder + "state.zip.pth", name: name)
      }
    }
  }

  @Test func foldersComeBeforeTheBinary() throws {
    try Fixture.withFolder { folder in
      try SafetensorsWriter.write(
        [(key: "a", value: Tensor([1] as [Float]))],
        description: ModelDescription(architecture: "tiny", configuration: Configuration()), to: folder + "a")
      let data = FileManager.default.contents(atPath: folder + "a")!
      let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: data.count, alignment: 64)
      defer { bytes.deallocate() }
      data.copyBytes(to: bytes)
      let embedded = EmbeddedModel(name: "tiny", bytes: UnsafeRawBufferPointer(bytes))
      let store = ModelStore(embedded: [embedded], environment: ["XDG_DATA_HOME": folder + "data"])
      #expect(store.folders == [folder + "data/braid/models"])
      let checkpoint = try store.open("tiny")
      #expect(try checkpoint.tensor("a").floats == [1])
      #expect(try checkpoint.tensor("a").storage.pointer != bytes.baseAddress)
      #expect(try store.verify("tiny").tensorCount == 1)
      try store.add(Fixture.folder + "state.zip.pth", name: "tiny")
      #expect(try store.open("tiny").keys.count == 7)
      #expect(store.list().count == 1)
      let error = #expect(throws: ModelStoreError.self) { try store.open("tinny") }
      #expect(try #require(error).description.contains("the nearest is tiny"))
      #expect(try store.open(folder + "a").keys == ["a"])
    }
  }

  @Test func environmentRules() {
    #expect(ModelStore(environment: [:]).folders.isEmpty)
    #expect(
      ModelStore(environment: ["BRAID_MODELS": "", "XDG_DATA_HOME": "relative", "HOME": "/h"]).folders
        == ["/h/.local/share/braid/models"])
    #expect(throws: ModelStoreError.noFolder) {
      try ModelStore(environment: [:]).add(Fixture.folder + "state.zip.pth", name: "a")
    }
  }

  @Test func descriptionsSurviveTheFile() throws {
    try Fixture.withFolder { folder in
      let card = try JSONValue(
        parsing: #"{"licence":"Apache-2.0","psnr":{"Set5":35.5},"notes":["\u00e9",null,true]}"#)
      let description = try ModelDescription(
        architecture: "contrast-s", configuration: Configuration(), card: card)
      try SafetensorsWriter.write(
        [(key: "a", value: Tensor([1] as [Float]))], description: description, to: folder + "a")
      let read = try #require(try ModelDescription(Checkpoint.open(folder + "a")))
      #expect(read == description)
      #expect(try read.configuration.decoded(as: Configuration.self) == Configuration())
      let coded = try JSONDecoder().decode(ModelDescription.self, from: JSONEncoder().encode(read))
      #expect(coded.configuration["channels"] == .integer(48))
      #expect(try ModelDescription(Checkpoint.open(Fixture.folder + "state.zip.pth")) == nil)
    }
  }

  @Test func reportsAreComplete() throws {
    try Fixture.withFolder { folder in
      try SafetensorsWriter.write(
        [(key: "a\u{1B}[31m", value: Tensor.ones([100, 200])), (key: "b", value: Tensor(1))],
        metadata: ["note": "line\nbreak"], to: folder + "a")
      let report = CheckpointReport(try Checkpoint.open(folder + "a"))
      #expect(report.text.contains("a\\u{1b}[31m  F32  [100, 200]  80.0 kB"))
      #expect(report.text.contains("metadata  note: line\\nbreak"))
      #expect(report.text.contains("total     2 tensors, 20001 elements, 80.0 kB"))
      #expect(!report.text.contains("\u{1B}") && !report.json.text.contains("\u{1B}"))
      let json = try JSONValue(parsing: report.json.text)
      #expect(json == report.json && json["element_count"] == .integer(20001))
      let torch = CheckpointReport(try Checkpoint.open(Fixture.folder + "averaged.zip.pth"))
      #expect(torch.text.contains("weights   params_ema\nalso      params (--weights-key)"))
    }
  }
}
