import Foundation
import Testing

@testable import BraidVision

@Suite struct ImageQualityTests {
  struct Expected: Codable {
    var name: String, crop: Int, y: Bool, psnr: Double, ssim: Double
  }

  static let expected: [Expected] = try! JSONDecoder().decode(
    [Expected].self, from: Data(ImageFixture.bytes("../metrics/expected.json")))

  @Test func agreesWithBasicSR() throws {
    #expect(Self.expected.count == 18)
    for expected in Self.expected {
      let clean = try ImageReader.read(ImageFixture.path("../metrics/\(expected.name)_clean.png"))
      let noisy = try ImageReader.read(ImageFixture.path("../metrics/\(expected.name)_noisy.png"))
      let psnr = try ImageQuality.psnr(clean, noisy, cropBorder: expected.crop, yChannel: expected.y)
      let ssim = try ImageQuality.ssim(clean, noisy, cropBorder: expected.crop, yChannel: expected.y)
      #expect(abs(psnr - expected.psnr) <= 1e-6, "\(expected)")
      #expect(abs(ssim - expected.ssim) <= 1e-6, "\(expected)")
    }
  }

  @Test func equalPicturesAndMistakes() throws {
    let image = ImageBuffer.noise(width: 20, height: 17, channels: 3, depth: 8)
    #expect(try ImageQuality.psnr(image, image) == .infinity)
    #expect(abs(try ImageQuality.ssim(image, image, cropBorder: 2) - 1) < 1e-12)
    let wide = ImageBuffer.noise(width: 21, height: 17, channels: 3, depth: 8)
    #expect(throws: ImageQuality.Failure.self) { try ImageQuality.psnr(image, wide) }
    #expect(throws: ImageQuality.Failure.self) { try ImageQuality.ssim(image, image, cropBorder: 4) }
    #expect(throws: ImageQuality.Failure.self) { try ImageQuality.psnr(image, image, cropBorder: 9) }
    // The same picture at 16 bits: v * 257.
    guard case .eight(let values) = image.samples else { return }
    let deep = ImageBuffer(
      width: 20, height: 17, colourModel: .rgb, samples: .sixteen(values.map { UInt16($0) * 257 }))
    #expect(try ImageQuality.psnr(image, deep, yChannel: true) == .infinity)
  }

  @Test func floatPSNR() {
    let a = Tensor([Float](repeating: 0.5, count: 300), shape: [10, 10, 3])
    let b = Tensor([Float](repeating: 0.6, count: 300), shape: [10, 10, 3])
    #expect(abs(ImageQuality.psnr(a, b) - 20) < 1e-5)
  }
}
