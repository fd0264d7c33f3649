import BraidTensor
import Foundation
import Testing

@testable import BraidCheckpoint

/// Damaged files end in a typed error or in tensors within bounds: no trap, no hang, no memory beyond a small
/// multiple of the file. BRAID_FUZZ=100000 runs as many files; BRAID_FUZZ_SEED chooses others.
@Suite struct FuzzTests {
  private static let environment = ProcessInfo.processInfo.environment

  @Test func damagedFilesAreRefusedOrReadWithinBounds() throws {
    let count = Self.environment["BRAID_FUZZ"].flatMap(Int.init) ?? 4000
    let seed = Self.environment["BRAID_FUZZ_SEED"].flatMap(UInt64.init) ?? 1
    try Fixture.withFolder { folder in
      let corpus = try Self.corpus(folder)
      var opened = 0
      var worst = 0.0
      for index in 0..<count {
        var mutator = Mutator(seed: seed &* 1_000_003 &+ UInt64(index))
        let source = corpus[mutator.below(corpus.count)]
        let other = corpus[mutator.below(corpus.count)].whole
        let bytes =
          mutator.below(2) == 0
          ? mutator.mutated(source.whole, other: other)
          : source.rebuilt(mutator.mutated(source.inner, other: other))
        let start = Date()
        if try Self.opens(bytes, path: folder + "fuzz") { opened += 1 }
        worst = max(worst, Date().timeIntervalSince(start))
      }
      // Damage to the elements themselves leaves a file readable: none at all would mean that nothing is tested.
      #expect(opened > count / 50 && opened < count)
      if Self.environment["BRAID_FUZZ"] != nil {
        print("fuzz: \(count) files, \(opened) opened, slowest \(Int(worst * 1000)) ms")
      }
    }
  }

  /// Whether the bytes open; errors of another type than `CheckpointError` are passed on.
  private static func opens(_ bytes: [UInt8], path: String) throws -> Bool {
    guard !bytes.isEmpty else { return false }
    let region = ByteRegion.copy(bytes)
    do {
      let checkpoint: Checkpoint
      if let index = try ShardIndex(region, path: path) {
        checkpoint = try Checkpoint(index, path: path, options: CheckpointOptions())
      } else {
        checkpoint = try Checkpoint(region, path: path, options: CheckpointOptions())
      }
      var total = 0
      for key in checkpoint.keys {
        let tensor = try checkpoint.tensor(key)
        total += tensor.elementCount * tensor.dtype.byteCount
        tensor.withBytes { _ = $0.reduce(UInt8(0)) { $0 &+ $1 } }
      }
      #expect(total <= 8 * bytes.count + 17 << 20)
      return true
    } catch let error as CheckpointError {
      #expect(error.description.utf8.count < 20_000)
      return false
    }
  }

  /// A file, and the part of it that a parser looks into once the outer form is right.
  private struct Source {
    var whole: [UInt8]
    var inner: [UInt8]
    var rebuilt: ([UInt8]) -> [UInt8]

    init(_ bytes: [UInt8]) {
      (whole, inner, rebuilt) = (bytes, bytes, { $0 })
    }

    /// A zip archive whose pickle is damaged, the archive around it being sound.
    init(zip bytes: [UInt8]) throws {
      var archive = try ZipArchive(.copy(bytes), path: "zip")
      var entries: [(name: String, data: [UInt8])] = []
      for name in archive.entries.keys {
        guard let (region, range) = try archive.content(of: name) else { continue }
        entries.append((name, Array(region.slice(range))))
      }
      whole = bytes
      let position = entries.firstIndex { $0.name.hasSuffix("data.pkl") }!
      inner = entries[position].data
      rebuilt = { pickle in
        var changed = entries
        changed[position].data = pickle
        return StoredZip.archive(changed)
      }
    }

    /// A safetensors file whose header is damaged, its length being right.
    init(safetensors bytes: [UInt8]) {
      let length = Int(bytes[0]) + Int(bytes[1]) << 8
      whole = bytes
      inner = Array(bytes[8..<8 + length])
      rebuilt = { header in
        withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) } + header + bytes[(8 + length)...]
      }
    }
  }

  private static func corpus(_ folder: String) throws -> [Source] {
    var corpus: [Source] = []
    for file in Fixture.good {
      let bytes = Fixture.bytes(file)
      let source = file.contains(".zip.") ? try Source(zip: bytes) : Source(bytes)
      corpus += [source, source, source]
    }
    for file in Fixture.bad where Fixture.bytes(file).count < 30_000 {
      let bytes = Fixture.bytes(file)
      let isSound = !file.contains("bomb") && !file.contains("legacy")
      corpus.append(isSound ? try Source(zip: bytes) : Source(bytes))
    }
    let state = try Checkpoint.open(Fixture.folder + "types.zip.pth")
    try SafetensorsWriter.write(
      state.keys.map { (key: $0, value: try state.tensor($0)) }, metadata: ["format": "pt"],
      to: folder + "one.safetensors")
    let safetensors = [UInt8](try Data(contentsOf: URL(fileURLWithPath: folder + "one.safetensors")))
    let index = Array(
      (#"{"metadata":{"total_size":300},"weight_map":{"#
        + state.keys.map { #""\#($0)":"one.safetensors""# }.joined(separator: ",") + "}}").utf8)
    for _ in 0..<12 { corpus += [Source(safetensors: safetensors), Source(index)] }
    return corpus
  }
}
