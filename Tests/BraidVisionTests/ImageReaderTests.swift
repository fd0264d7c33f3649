import Foundation
import Testing

@testable import BraidVision

@Suite struct ImageReaderTests {
  @Test(arguments: ImageFixture.names)
  func decodesToTheExpectedSamples(name: String) throws {
    let image = try ImageReader.read(ImageFixture.path(name))
    let (values, shape) = try ImageFixture.expected(name)
    #expect([image.height, image.width, image.channels] == shape)
    #expect(image.sampleValues == values)
  }

  @Test func keepsDepthAndProfiles() throws {
    let profile = ImageFixture.bytes("srgb.icc")
    let png = try ImageReader.read(ImageFixture.path("metadata.png"))
    #expect(png.iccProfile == profile)
    #expect(Exif(png.exif ?? [])?.orientation == 1)
    for orientation in 1...8 {
      let jpeg = try ImageReader.read(ImageFixture.path("orientation\(orientation).jpg"))
      #expect(jpeg.iccProfile == profile)
      #expect(Exif(jpeg.exif ?? [])?.orientation == 1)
      #expect(jpeg.exif?.count == ImageFixture.exifCount)
    }
    #expect(
      try ImageReader.read(ImageFixture.path("large_icc.jpg")).iccProfile?.count == profile.count + 70_000)
    #expect(try ImageReader.read(ImageFixture.path("lzw.tif")).iccProfile == profile)
    #expect(try ImageReader.read(ImageFixture.path("rgb.webp")).iccProfile == profile)
    #expect(try ImageReader.read(ImageFixture.path("rgb16.png")).depth == 16)
    #expect(try ImageReader.read(ImageFixture.path("grey2.png")).sourceDepth == 2)
  }

  @Test func saysWhatItConverted() throws {
    #expect(try ImageReader.read(ImageFixture.path("cmyk.jpg")).notes.contains { $0.contains("CMYK") })
    #expect(try ImageReader.read(ImageFixture.path("rgb32f.tif")).notes.contains { $0.contains("float") })
    let folder = try ImageFixture.scratchFolder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let liar = folder + "/liar.png"
    try FileManager.default.copyItem(atPath: ImageFixture.path("rgb.jpg"), toPath: liar)
    let image = try ImageReader.read(liar)
    #expect(image.sourceFormat == .jpeg)
    #expect(image.notes == ["the extension is .png but the content is JPEG"])
  }

  @Test func refusesWhatIsNoPicture() throws {
    let folder = try ImageFixture.scratchFolder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    #expect(throws: ImageError.notFound(path: folder + "/none.png")) {
      try ImageReader.read(folder + "/none.png")
    }
    #expect(throws: ImageError.unreadable(path: folder, reason: "it is a folder")) {
      try ImageReader.read(folder)
    }
    // A pipe without a writer does not hang.
    #expect(mkfifo(folder + "/pipe.png", 0o600) == 0)
    #expect(throws: ImageError.self) { try ImageReader.read(folder + "/pipe.png") }
    for (name, content) in [("empty.png", ""), ("text.png", "hello"), ("ours.npy", "\u{93}NUMPY")] {
      let path = folder + "/" + name
      try content.write(toFile: path, atomically: false, encoding: .isoLatin1)
      let error = #expect(throws: ImageError.self) { try ImageReader.read(path) }
      guard case .unsupported? = error else {
        Issue.record("\(name): \(String(describing: error))")
        continue
      }
    }
    let animated = #expect(throws: ImageError.self) {
      try ImageReader.read(ImageFixture.path("animated.webp"))
    }
    #expect("\(animated!)".contains("animated"))
  }

  @Test(arguments: [
    "rgb8.png", "rgb16_interlaced.png", "rgb.jpg", "progressive.jpg", "rgb.webp", "rgb24.bmp", "rgb.tif",
  ])
  func everyTruncationIsAnError(name: String) throws {
    let bytes = ImageFixture.bytes(name)
    // A JPEG that lacks only its end marker, or a TIFF its last tags, is damaged all the same.
    for count in stride(from: 0, to: bytes.count, by: max(1, bytes.count / 97)) {
      #expect(throws: ImageError.self, "\(count) of \(bytes.count) bytes") {
        try ImageReader.read(bytes: Array(bytes[..<count]))
      }
    }
  }

  @Test func refusesHugeDeclarationsBeforeAllocating() throws {
    // A PNG header that declares 2^30 - 1 squared pixels, and one that declares 20000 squared in 60 bytes.
    var huge = ImageFixture.bytes("rgb8.png")
    huge.replaceSubrange(16..<24, with: [0x3F, 0xFF, 0xFF, 0xFF, 0x3F, 0xFF, 0xFF, 0xFF])
    #expect(throws: ImageError.self) { try ImageReader.read(bytes: huge) }
    var jpeg = ImageFixture.bytes("rgb.jpg")
    let frame = jpeg.indices.first { jpeg[$0] == 0xFF && jpeg[$0 + 1] == 0xC0 }!
    jpeg.replaceSubrange(frame + 5..<frame + 9, with: [0xFF, 0xDC, 0xFF, 0xDC])
    let error = #expect(throws: ImageError.self) { try ImageReader.read(bytes: jpeg) }
    #expect(error == .tooLarge(path: "<bytes>", width: 65500, height: 65500, limit: "\(512 << 20) pixels"))
    #expect(throws: ImageError.self) {
      try ImageReader.read(ImageFixture.path("rgb.tif"), limits: ImageLimits(maximumPixels: 15 * 18 - 1))
    }
    #expect(throws: ImageError.self) {
      try ImageReader.read(ImageFixture.path("rgb16.png"), limits: ImageLimits(maximumBytes: 11 * 17 * 6 - 1))
    }
  }

  /// Bytes changed, removed, repeated at random: a picture or an ImageError, never anything else.
  @Test(arguments: ["png", "jpg", "webp", "tif", "bmp"])
  func survivesMutations(kind: String) throws {
    let seeds = ImageFixture.names.filter { $0.hasSuffix("." + kind) }.map(ImageFixture.bytes)
    // Small limits, so that a mutated header costs nothing.
    let limits = ImageLimits(maximumPixels: 1 << 20, maximumBytes: 16 << 20)
    for round in 0..<mutationRounds {
      let bytes = mutated(seeds[round % seeds.count], round: UInt64(round))
      do {
        _ = try ImageReader.read(bytes: bytes, limits: limits)
      } catch is ImageError {
      } catch {
        Issue.record("round \(round): \(error)")
      }
    }
  }

  private var mutationRounds: Int {
    ProcessInfo.processInfo.environment["BRAID_FUZZ_ROUNDS"].flatMap(Int.init) ?? 2000
  }

  private func mutated(_ seed: [UInt8], round: UInt64) -> [UInt8] {
    var state = round &* 0x9E37_79B9_7F4A_7C15 &+ 1
    func next(_ below: Int) -> Int {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      return Int(state % UInt64(max(below, 1)))
    }
    var bytes = seed
    for _ in 0...next(6) {
      // Half of the changes fall on the first 128 bytes, where the headers are.
      let at = next(2) == 0 ? next(min(128, bytes.count)) : next(bytes.count)
      guard at < bytes.count else { break }
      switch next(6) {
      case 0: bytes[at] = UInt8(next(256))
      case 1: bytes[at] ^= 1 << UInt8(next(8))
      case 2: bytes[at] = [0, 1, 0x7F, 0x80, 0xFE, 0xFF][next(6)]
      case 3: bytes.removeSubrange(at..<min(bytes.count, at + 1 + next(16)))
      case 4: bytes.insert(contentsOf: bytes[at..<min(bytes.count, at + 1 + next(16))], at: at)
      default: bytes.removeLast(next(bytes.count / 4))
      }
    }
    return bytes
  }
}

extension ImageFixture {
  /// The size of the EXIF block that the generator writes.
  static let exifCount = 94
}
