import Foundation
import Synchronization
import Testing

@testable import BraidTensor
@testable import BraidVision

@Suite struct RestorePipelineTests {
  /// The largest difference between samples, on a scale of 255.
  private func distance(_ a: ImageBuffer, _ b: ImageBuffer) -> Float {
    #expect(a.width == b.width && a.height == b.height && a.channels == b.channels && a.depth == b.depth)
    return zip(a.floats(), b.floats()).reduce(0) { max($0, abs($1.0 - $1.1)) } * 255
  }

  @Test(arguments: [(1, 1), (1, 50), (5, 7), (33, 64), (70, 129)], [1, 2])
  func tiledIsUntiled(size: (width: Int, height: Int), scale: Int) async throws {
    let image = ImageBuffer.noise(width: size.width, height: size.height, channels: 3, depth: 8)
    for unit in [1, 8] {
      let pipeline = RestorePipeline(model: BoxModel(scale: scale, radius: 2, sizeMultiple: unit))
      let whole = try await pipeline.run(image, options: RestoreOptions(tiling: .whole))
      #expect(whole.width == size.width * scale && whole.height == size.height * scale)
      for side in [24, 40, 64] {
        let options = RestoreOptions(tiling: .side(side), overlap: 8)
        #expect(distance(try await pipeline.run(image, options: options), whole) == 0)
      }
      // The default overlap, and the tile of a small budget.
      let small = try await pipeline.run(image, options: RestoreOptions(memoryBudget: 48 * 1600))
      #expect(distance(small, whole) == 0)
    }
  }

  @Test func seamsFadeLinearly() async throws {
    // A model that paints each tile in its own grey: only weights that sum to 1 keep the picture between them.
    struct Tint: RestorationModel {
      static let architecture = "tint"
      let parameters = BoxModel().parameters
      let scale = 1
      let sizeMultiple = 4
      let receptiveRadius: Int? = nil
      let bytesPerPixel = 1
      func callAsFunction(_ image: Tensor) -> Tensor { Tensor.full(image.shape, image.max().item) }
    }
    var samples = [UInt8](repeating: 0, count: 96 * 8 * 3)
    for i in 0..<8 * 96 where i % 96 > 90 { samples[3 * i] = 255 }
    let image = ImageBuffer(width: 96, height: 8, colourModel: .rgb, samples: .eight(samples))
    let values = try await RestorePipeline(model: Tint()).runFloats(
      image, options: RestoreOptions(tiling: .side(64), overlap: 32))
    let row = (0..<96).map { values[$0 * 3] }
    #expect(row.first == 0 && row.last == 1)
    for x in 1..<96 { #expect(row[x] >= row[x - 1] && row[x] - row[x - 1] < 0.07) }
  }

  @Test(arguments: [1, 2, 3, 4], [8, 16])
  func channelsAndDepthStay(channels: Int, depth: Int) async throws {
    var image = ImageBuffer.noise(width: 19, height: 11, channels: channels, depth: depth)
    image.iccProfile = [1, 2, 3]
    let pipeline = RestorePipeline(model: BoxModel(radius: 0))
    let same = try await pipeline.run(image, options: RestoreOptions(tiling: .side(8)))
    #expect(same.samples == image.samples && same.colourModel == image.colourModel)
    #expect(same.hasAlpha == image.hasAlpha && same.iccProfile == [1, 2, 3])
    let double = try await RestorePipeline(model: BoxModel(scale: 2, radius: 0, sizeMultiple: 4)).run(image)
    #expect(double.width == 38 && double.depth == depth && double.channels == channels)
    let (small, large) = (image.sampleValues, double.sampleValues)
    for (x, y) in [(0, 0), (18, 10), (7, 3)] {
      for c in 0..<channels {
        #expect(large[((2 * y + 1) * 38 + 2 * x) * channels + c] == small[(y * 19 + x) * channels + c])
      }
    }
  }

  @Test func alphaHasItsOwnPassWhereTheSizeChanges() async throws {
    let image = ImageBuffer.noise(width: 24, height: 24, channels: 4, depth: 8)
    let events = EventLog()
    // Every sample is mapped by x -> 3 x - 1, alpha too.
    let restored = try await RestorePipeline(model: OverdrivenModel()).runFloats(image) { events.add($0) }
    let expected = image.floats()
    #expect(abs(restored[3] - (3 * expected[3] - 1)) < 1e-6)
    #expect(events.tileCounts == [2])
    // One that keeps the size leaves it.
    let blurred = try await RestorePipeline(model: BoxModel()).run(image)
    let (before, after) = (image.sampleValues, blurred.sampleValues)
    #expect(stride(from: 3, to: before.count, by: 4).allSatisfy { before[$0] == after[$0] })
    #expect(before != after)
    // An opaque picture stays opaque, without a second pass.
    var samples = [UInt8](repeating: 255, count: 4 * 16)
    samples[0] = 3
    let opaque = ImageBuffer(width: 4, height: 4, colourModel: .rgb, hasAlpha: true, samples: .eight(samples))
    let model = OverdrivenModel()
    let enlarged = try await RestorePipeline(model: model).run(opaque)
    #expect(model.calls.load(ordering: .relaxed) == 1)
    #expect(enlarged.constantAlpha == 1)
  }

  @Test func floatsAreNotClamped() async throws {
    let image = ImageBuffer.noise(width: 9, height: 9, channels: 3, depth: 8)
    let values = try await RestorePipeline(model: OverdrivenModel()).runFloats(image)
    #expect(values.min()! < -0.5 && values.max()! > 1.5)
    let clamped = try await RestorePipeline(model: OverdrivenModel()).run(image)
    #expect(clamped.floats().min()! == 0 && clamped.floats().max()! == 1)
  }

  @Test func refusedMemoryHalvesTheTile() async throws {
    let image = ImageBuffer.noise(width: 200, height: 120, channels: 3, depth: 8)
    var pipeline = RestorePipeline(model: BoxModel(sizeMultiple: 8, bytesPerPixel: 1000))
    let whole = try await pipeline.run(image)
    pipeline.preflight = { if $0 > 2_000_000 { throw MemoryError(requestedBytes: $0) } }
    let events = EventLog()
    let tiled = try await pipeline.run(image, options: RestoreOptions(tiling: .whole)) { events.add($0) }
    #expect(distance(tiled, whole) == 0)
    #expect(events.notes.count == 2)
    #expect(events.notes[0] == "not enough memory for a tile of 200 x 120 pixels; going on with 100 x 60")
    pipeline.preflight = { throw MemoryError(requestedBytes: $0) }
    await #expect(throws: MemoryError.self) { try await pipeline.run(image) }
  }

  @Test func exactTilesAreUntiled() async throws {
    let image = ImageBuffer.noise(width: 61, height: 50, channels: 3, depth: 8)
    let pipeline = RestorePipeline(model: GlobalModel())
    let whole = try await pipeline.run(image, options: RestoreOptions(tiling: .whole))
    let tiled = try await pipeline.run(image, options: RestoreOptions(tiling: .side(16)))
    let exact = try await pipeline.run(image, options: RestoreOptions(tiling: .side(16), exact: true))
    #expect(distance(tiled, whole) > 3)
    #expect(distance(exact, whole) == 0)
  }

  @Test func selfEnsembleAveragesFlipsAndTurns() async throws {
    let image = ImageBuffer.noise(width: 30, height: 17, channels: 3, depth: 16)
    let options = RestoreOptions(selfEnsemble: true)
    // A symmetric model is not changed by it.
    let box = RestorePipeline(model: BoxModel(scale: 2))
    #expect(distance(try await box.run(image, options: options), try await box.run(image)) < 0.01)
    let model = OverdrivenModel()
    _ = try await RestorePipeline(model: model).run(image, options: options)
    #expect(model.calls.load(ordering: .relaxed) == 8)
    let x = Tensor.range(2 * 3 * 3).reshaped(1, 2, 3, 3)
    for index in 0..<SelfEnsemble.count {
      #expect(SelfEnsemble.invert(SelfEnsemble.transform(x, index), index).floats == x.floats)
    }
    #expect(Set((0..<8).map { SelfEnsemble.transform(x, $0).floats.description + "\($0 / 4)" }).count == 8)
  }

  @Test func cancellationEndsTheRun() async throws {
    let image = ImageBuffer.noise(width: 400, height: 400, channels: 3, depth: 8)
    let model = OverdrivenModel()
    let task = Task {
      try await RestorePipeline(model: model).run(image, options: RestoreOptions(tiling: .side(8))) { event in
        if case .progress(let progress) = event, progress.tilesDone == 3 {
          withUnsafeCurrentTask { $0?.cancel() }
        }
      }
    }
    await #expect(throws: CancellationError.self) { try await task.value }
    #expect(model.calls.load(ordering: .relaxed) == 3)
  }

  @Test func progressCountsTilesAndEndsAtOne() async throws {
    let events = EventLog()
    let image = ImageBuffer.noise(width: 40, height: 24, channels: 4, depth: 8)
    _ = try await RestorePipeline(model: OverdrivenModel()).run(
      image, options: RestoreOptions(tiling: .side(16), overlap: 0)
    ) { events.add($0) }
    let progress = events.progress
    #expect(progress.map(\.tileCount) == [Int](repeating: 12, count: progress.count))
    #expect(progress.first?.fraction == 0 && progress.last?.fraction == 1)
    #expect(progress.last?.tilesDone == 12)
    #expect(zip(progress, progress.dropFirst()).allSatisfy { $0.fraction <= $1.fraction })
    #expect(progress.last?.secondsLeft == 0)
  }

  @Test func tensorsGoThroughWithoutRounding() async throws {
    let image = Tensor.range(35 * 20 * 3).reshaped(1, 35, 20, 3) * 0.001 - 0.2
    let pipeline = RestorePipeline(model: BoxModel(radius: 0))
    let result = try await pipeline.run(image, options: RestoreOptions(tiling: .side(10)))
    #expect(result.shape == image.shape)
    #expect(zip(result.floats, image.floats).allSatisfy { abs($0 - $1) < 1e-6 })
  }

  @Test func filesAreRestored() async throws {
    let folder = try ImageFixture.scratchFolder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let pipeline = RestorePipeline(model: BoxModel(scale: 2, radius: 0, sizeMultiple: 8))
    let result = try await pipeline.run(input: ImageFixture.path("rgba16.png"), output: folder + "/a.png")
    let read = try ImageReader.read(folder + "/a.png")
    #expect(read.samples == result.restored.samples && read.depth == 16 && read.hasAlpha)
    #expect(read.width == 2 * result.source.width)
    try await pipeline.run(input: ImageFixture.path("grey8.png"), output: folder + "/b.npy")
    let array = try NPY.read(bytes: Array(Data(contentsOf: URL(fileURLWithPath: folder + "/b.npy"))))
    let grey = try ImageReader.read(ImageFixture.path("grey8.png"))
    #expect(array.shape == [2 * grey.height, 2 * grey.width, 1])
    await #expect(throws: ImageError.self) {
      try await pipeline.run(input: ImageFixture.path("grey8.png"), output: folder + "/b.unknown")
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder).sorted() == ["a.png", "b.npy"])
  }
}

/// Keeps what a pipeline told.
private final class EventLog: Sendable {
  private let events = Mutex<[RestoreEvent]>([])

  func add(_ event: RestoreEvent) { events.withLock { $0.append(event) } }

  var notes: [String] {
    events.withLock { $0.compactMap { if case .note(let text) = $0 { text } else { nil } } }
  }
  var progress: [RestoreProgress] {
    events.withLock { $0.compactMap { if case .progress(let progress) = $0 { progress } else { nil } } }
  }
  var tileCounts: Set<Int> { Set(progress.map(\.tileCount)) }
}
