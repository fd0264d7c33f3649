import BraidTensor
import Foundation
import Testing

@testable import BraidCheckpoint

@Suite struct TorchFileTests {
  @Test(arguments: Fixture.good) func readsWhatTorchWrote(_ file: String) throws {
    let expected = try #require(Fixture.expected[file])
    let checkpoint = try Checkpoint.open(Fixture.folder + file)
    #expect(checkpoint.format == (file.contains(".zip.") ? .torchZip : .torchLegacy))
    #expect(checkpoint.keys == expected.tensors.map(\.key))
    #expect(checkpoint.weightsKey == expected.weightsKey ?? "")
    for truth in expected.tensors {
      let entry = try #require(checkpoint.entry(truth.key))
      #expect(entry.shape == Shape(truth.shape))
      #expect(entry.storedType.rawValue == truth.type)
      let tensor = try checkpoint.tensor(truth.key)
      #expect(tensor.shape == Shape(truth.shape))
      #expect(tensor.dtype == entry.dtype)
      // Every stored type but F64 is exact in float32; that one is rounded once.
      #expect(tensor.floats == truth.values.map { Float($0) }, "\(file) \(truth.key)")
    }
  }

  @Test(arguments: Fixture.bad) func refuses(_ file: String) throws {
    let part = try #require(Fixture.expected[file]?.fails)
    do {
      _ = try Checkpoint.open(Fixture.folder + file)
      Issue.record("\(file) was opened")
    } catch let error as CheckpointError {
      #expect(error.description.contains(part), "\(error)")
    }
    #expect(!FileManager.default.fileExists(atPath: "pwned"))
  }

  @Test func contiguousTensorsAreUsedInPlace() throws {
    let checkpoint = try Checkpoint.open(Fixture.folder + "blocks.zip.pth")
    let first = try checkpoint.tensor("layers.0.weight")
    let again = try checkpoint.tensor("layers.0.weight")
    #expect(first.storage.pointer == again.storage.pointer)
  }

  @Test func changingATensorLeavesTheFileAlone() throws {
    let file = Fixture.folder + "blocks.zip.pth"
    let before = Fixture.bytes("blocks.zip.pth")
    let tensor = try Checkpoint.open(file).tensor("layers.0.weight")
    tensor.overwrite(as: Float.self) { $0[0] = 42 }
    #expect(tensor.floats[0] == 42)
    #expect(Fixture.bytes("blocks.zip.pth") == before)
  }

  @Test func weightsAreChosenByKey() throws {
    let file = Fixture.folder + "averaged.zip.pth"
    let averaged = try Checkpoint.open(file)
    #expect(averaged.weightsKey == "params_ema")
    #expect(averaged.availableWeightsKeys == ["params", "params_ema"])
    let plain = try Checkpoint.open(file, options: CheckpointOptions(weightsKey: "params"))
    let difference = zip(try averaged.tensor("0.bias").floats, try plain.tensor("0.bias").floats).map {
      $0 - $1
    }
    #expect(difference.allSatisfy { abs($0 - 1) < 1e-6 })
    let all = try Checkpoint.open(file, options: CheckpointOptions(weightsKey: "."))
    #expect(all.keys.contains("params.0.bias") && all.keys.contains("params_ema.0.bias"))
    let nested = Fixture.folder + "deep.zip.pth"
    let inner = try Checkpoint.open(nested, options: CheckpointOptions(weightsKey: "model.state_dict"))
    #expect(inner.keys.contains("0.bias"))
    #expect(
      throws: CheckpointError.weightsKey(path: file, named: "ema", available: ["params", "params_ema"])
    ) { try Checkpoint.open(file, options: CheckpointOptions(weightsKey: "ema")) }
  }

  @Test func commonPrefixesCanStay() throws {
    let file = Fixture.folder + "prefix.zip.pth"
    let kept = try Checkpoint.open(file, options: CheckpointOptions(commonPrefixes: []))
    #expect(kept.keys.allSatisfy { $0.hasPrefix("module.") })
    #expect(kept.metadata == ["epoch": "3", "loss": "0.25", "name": "run"])
  }

  @Test func otherContentIsNamed() throws {
    let samples: [(String, String)] = [
      ("<!DOCTYPE html><html>", "web page"), ("version https://git-lfs.github.com/spec/v1", "git lfs pull"),
      ("GGUF0000", "GGUF"), ("{\"a\": 1}", "weight_map"), ("hello", "neither"), ("", "empty"),
      ("\u{1}", "neither"),
    ]
    try Fixture.withFolder { folder in
      for (content, part) in samples {
        try Fixture.write(Array(content.utf8), folder + "file")
        do {
          _ = try Checkpoint.open(folder + "file")
          Issue.record("opened \(content)")
        } catch let error as CheckpointError {
          #expect(error.description.contains(part), "\(error)")
        }
      }
      #expect(throws: CheckpointError.notFound(path: folder + "none")) {
        try Checkpoint.open(folder + "none")
      }
      mkfifo(folder + "pipe", 0o600)
      #expect(throws: CheckpointError.self) { try Checkpoint.open(folder + "pipe") }
      #expect(throws: CheckpointError.self) { try Checkpoint.open("/dev/zero") }
    }
  }

  @Test func hostileNamesAreEscaped() {
    let error = CheckpointError.missingKey(path: "a\u{1B}[2J", key: "b\u{202E}c\n", nearest: nil)
    #expect(error.description == "a\\u{1b}[2J: no tensor \"b\\u{202e}c\\n\"")
  }
}
