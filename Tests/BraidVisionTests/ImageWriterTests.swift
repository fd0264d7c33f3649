import BraidFiles
import Foundation
import Testing

@testable import BraidVision

@Suite struct ImageWriterTests {
  @Test(arguments: [1, 2, 3, 4], [8, 16])
  func pngKeepsEverySample(channels: Int, depth: Int) throws {
    var image = ImageBuffer.noise(width: 37, height: 21, channels: channels, depth: depth)
    if channels >= 3 { image.iccProfile = ImageFixture.bytes("srgb.icc") }
    image.exif = try ImageReader.read(ImageFixture.path("metadata.png")).exif
    let back = try ImageReader.read(bytes: ImageWriter.encode(image, as: .png).bytes)
    #expect(back.samples == image.samples)
    #expect(back.channels == channels)
    #expect(back.iccProfile == image.iccProfile)
    #expect(back.exif?.count == image.exif?.count)
    let stripped = ImageWriter.Options(stripMetadata: true)
    let bare = try ImageReader.read(bytes: ImageWriter.encode(image, as: .png, options: stripped).bytes)
    #expect(bare.iccProfile == nil && bare.exif == nil)
  }

  @Test func jpegKeepsProfileAndExif() throws {
    let image = try ImageReader.read(ImageFixture.path("orientation6.jpg"))
    let (bytes, notes) = try ImageWriter.encode(image, as: .jpeg)
    let back = try ImageReader.read(bytes: bytes)
    #expect(notes.isEmpty)
    #expect(back.iccProfile == image.iccProfile)
    #expect((back.width, back.height) == (23, 37))
    // The size that EXIF states follows the picture.
    var exif = Exif(image.exif!)!
    exif.setSize(width: 23, height: 37)
    #expect(back.exif == exif.bytes && back.exif != image.exif)
    let large = try ImageReader.read(ImageFixture.path("large_icc.jpg"))
    #expect(
      try ImageReader.read(bytes: ImageWriter.encode(large, as: .jpeg).bytes).iccProfile == large.iccProfile)
  }

  @Test func profilesThatDoNotFitAreLeftOut() throws {
    let profile = ImageFixture.bytes("srgb.icc")
    for (channels, profile) in [(1, profile), (3, Array(profile.dropLast())), (3, [1, 2, 3]), (2, profile)] {
      var image = ImageBuffer.noise(width: 9, height: 9, channels: channels, depth: 8)
      image.iccProfile = profile
      for format in [ImageFormat.png, .jpeg] {
        let (bytes, notes) = try ImageWriter.encode(image, as: format)
        #expect(notes.contains { $0.contains("colour profile") })
        #expect(try ImageReader.read(bytes: bytes).iccProfile == nil)
      }
    }
  }

  @Test func jpegSaysWhatItLoses() throws {
    let image = ImageBuffer(
      width: 8, height: 8, colourModel: .rgb, hasAlpha: true,
      samples: .sixteen([UInt16](repeating: 0, count: 256)))
    let (bytes, notes) = try ImageWriter.encode(image, as: .jpeg)
    #expect(notes.count == 2)
    let back = try ImageReader.read(bytes: bytes)
    #expect(back.sampleValues.allSatisfy { $0 == 255 })
  }

  @Test func floatsComeBackUnchangedAndRoundToEven() {
    for depth in [8, 16] {
      let image = ImageBuffer.noise(width: 64, height: 33, channels: 3, depth: depth)
      let back = ImageBuffer(
        floats: image.floats(), width: 64, height: 33, colourModel: .rgb, depth: depth)
      #expect(back.samples == image.samples)
    }
    let halves: [Float] = [0.5 / 255, 1.5 / 255, 2.5 / 255, -1, 2, .nan, .infinity, 254.5 / 255, 1]
    let image = ImageBuffer(floats: halves, width: 9, height: 1, colourModel: .grey)
    let rounded = halves.map { value -> Float in
      value.isNaN ? 0 : (min(max(value, 0), 1) * 255).rounded(.toNearestOrEven)
    }
    #expect(image.sampleValues == rounded)
  }

  @Test func npyIsNotClamped() throws {
    let folder = try ImageFixture.scratchFolder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let values: [Float] = [-0.5, 0, 0.25, 1.5, 2, 3]
    try NPY.write(values, shape: [1, 2, 3], to: folder + "/a.npy")
    let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: folder + "/a.npy")))
    let (back, shape) = try NPY.read(bytes: bytes)
    #expect(back == values && shape == [1, 2, 3])
    #expect((bytes.count - 24) % 64 == 0)
    for count in 0..<bytes.count {
      #expect(throws: ImageError.self) { try NPY.read(bytes: Array(bytes[..<count])) }
    }
  }

  @Test func writesWholeFilesOrNone() throws {
    let folder = try ImageFixture.scratchFolder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let image = ImageBuffer.noise(width: 8, height: 8, channels: 3, depth: 8)
    try ImageWriter.write(image, to: folder + "/a.png")
    #expect(try ImageReader.read(folder + "/a.png").samples == image.samples)
    for bad in ["/none/a.png", "/a.gif", "/noextension", "/", "/a.png/b.png"] {
      let error = #expect(throws: ImageError.self) { try ImageWriter.write(image, to: folder + bad) }
      guard case .cannotCreate? = error else {
        Issue.record("\(bad): \(String(describing: error))")
        continue
      }
    }
    // A picture that the encoder refuses leaves nothing behind.
    let wide = ImageBuffer(
      width: 65501, height: 1, colourModel: .grey, samples: .eight([UInt8](repeating: 0, count: 65501)))
    #expect(throws: ImageError.self) { try ImageWriter.write(wide, to: folder + "/wide.jpg") }
    #expect(throws: ImageError.self) { try ImageWriter.write(image, to: folder + "/a.webp") }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["a.png"])
    // Links are written through, and devices directly.
    try FileManager.default.createSymbolicLink(atPath: folder + "/link.png", withDestinationPath: "a.png")
    try ImageWriter.write(wide, to: folder + "/link.png")
    #expect(try ImageReader.read(folder + "/a.png").width == 65501)
    try ImageWriter.write(image, to: "/dev/null", format: .png)
    let full = #expect(throws: ImageError.self) {
      try ImageWriter.write(image, to: "/dev/full", format: .png)
    }
    guard case .cannotWrite? = full else {
      Issue.record("\(String(describing: full))")
      return
    }
  }
}
