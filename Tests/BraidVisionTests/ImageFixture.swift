import BraidVision
import Foundation
import Testing

/// The small pictures made by Tests/Generators/make_image_fixtures.py.
enum ImageFixture {
  static let folder = Bundle.module.resourcePath! + "/Fixtures/images"

  /// The names of the pictures that have expected samples beside them.
  static let names: [String] = try! FileManager.default.contentsOfDirectory(atPath: folder)
    .filter { $0.hasSuffix(".npy") }.map { String($0.dropLast(4)) }.sorted()

  static func path(_ name: String) -> String { folder + "/" + name }

  static func bytes(_ name: String) -> [UInt8] {
    Array(try! Data(contentsOf: URL(fileURLWithPath: path(name))))
  }

  static func expected(_ name: String) throws -> (values: [Float], shape: [Int]) {
    try NPY.read(bytes: bytes(name + ".npy"), path: name)
  }

  /// A new empty folder for one test's output.
  static func scratchFolder() throws -> String {
    let path = NSTemporaryDirectory() + "braid-vision-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    return path
  }
}

extension ImageBuffer {
  /// The samples as they are, for comparison with arrays.
  var sampleValues: [Float] {
    switch samples {
    case .eight(let values): values.map(Float.init)
    case .sixteen(let values): values.map(Float.init)
    }
  }

  static func noise(width: Int, height: Int, channels: Int, depth: Int, seed: UInt64 = 1) -> ImageBuffer {
    var state = seed
    func next() -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return state >> 33
    }
    let count = width * height * channels
    return ImageBuffer(
      width: width, height: height, colourModel: channels >= 3 ? .rgb : .grey, hasAlpha: channels % 2 == 0,
      samples: depth == 16
        ? .sixteen((0..<count).map { _ in UInt16(truncatingIfNeeded: next()) })
        : .eight((0..<count).map { _ in UInt8(truncatingIfNeeded: next()) }))
  }
}
