import BraidTensor
import BraidTraining
import Foundation

/// Random crops of pictures and their spoilt versions.
public struct PatchSource: Sendable {
  /// Clean and spoilt batches, [B, h, w, 3] in 0...1.
  public struct Batch: Sendable {
    public let clean: Tensor
    public let spoilt: Tensor
  }

  public let images: [ImageBuffer]

  /// The pictures of folders (not below them), in name order; unreadable files are an error.
  public static func images(in folders: [String]) throws -> [ImageBuffer] {
    var paths: [String] = []
    for folder in folders {
      guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder) else {
        throw TrainingError.noData("\(folder) is not a folder that can be read")
      }
      paths += names.sorted().map { folder + "/" + $0 }.filter { ImageFormat(path: $0) != nil }
    }
    return try paths.map { try ImageReader.read($0).opaqueEightBit() }
  }

  public init(images: [ImageBuffer], patch: Int) throws {
    self.images = images.filter { $0.width >= patch && $0.height >= patch }
    guard !self.images.isEmpty else {
      throw TrainingError.noData("no picture is at least \(patch) x \(patch) pixels")
    }
  }

  /// The batch that `generator` gives, whatever the number of threads.
  public func batch(
    _ count: Int, patch: Int, degradations: [Degradation], generator: Philox
  ) throws -> Batch {
    let size = patch / Degradation.scale(of: degradations)
    let clean = Tensor.uninitialized([count, patch, patch, 3])
    let spoilt = Tensor.uninitialized([count, size, size, 3])
    for index in 0..<count {
      var draw = generator.split(UInt64(index))
      let image = images[draw.integer(images.count)]
      let crop = PatchSource.crop(
        image, x: draw.integer(image.width - patch + 1), y: draw.integer(image.height - patch + 1),
        side: patch,
        symmetry: draw.integer(8))
      let degraded = try Degradation.apply(degradations, to: crop, using: &draw)
      copy(crop, into: clean.selected(axis: 0, index))
      copy(degraded, into: spoilt.selected(axis: 0, index))
    }
    return Batch(clean: clean, spoilt: spoilt)
  }

  private func copy(_ source: Tensor, into target: Tensor) {
    source.read { from in
      target.overwrite(as: Float.self) { $0.update(from: from, count: source.elementCount) }
    }
  }

  /// A square of a picture under one of the eight symmetries, [side, side, 3] in 0...1.
  static func crop(_ image: ImageBuffer, x: Int, y: Int, side: Int, symmetry: Int) -> Tensor {
    guard case .eight(let samples) = image.samples else { preconditionFailure("crop: 16-bit samples") }
    let (width, channels) = (image.width, image.channels)
    return Tensor.build([side, side, 3]) { out in
      for row in 0..<side {
        for column in 0..<side {
          var (r, c) = (row, column)
          if symmetry & 1 != 0 { c = side - 1 - c }
          if symmetry & 2 != 0 { r = side - 1 - r }
          if symmetry & 4 != 0 { swap(&r, &c) }
          let from = ((y + r) * width + x + c) * channels
          for k in 0..<3 {
            out[(row * side + column) * 3 + k] = Float(samples[from + (channels >= 3 ? k : 0)]) / 255
          }
        }
      }
    }
  }
}
