import Foundation
import Testing

@testable import BraidVision

@Suite struct DegradationTests {
  private func array(_ name: String) throws -> Tensor {
    let (values, shape) = try NPY.read(bytes: ImageFixture.bytes("../metrics/\(name).npy"), path: name)
    return Tensor(values, shape: Shape(shape))
  }

  private func difference(_ a: Tensor, _ b: Tensor) -> Float {
    #expect(a.shape == b.shape)
    return zip(a.floats, b.floats).map { abs($0 - $1) }.max() ?? 0
  }

  @Test(arguments: [("d2", 0.5), ("d3", 1.0 / 3), ("d4", 0.25), ("u2", 2.0), ("u3", 3.0), ("u4", 4.0)])
  func resizesLikeMATLAB(tag: String, scale: Double) throws {
    let source = try array("resize_source")
    #expect(difference(BicubicResize.resize(source, scale: scale), try array("resize_\(tag)")) <= 1e-6)
    let batch = Tensor(source.floats + source.floats, shape: [2, 13, 18, 3])
    let both = BicubicResize.resize(batch, scale: scale)
    let one = try array("resize_\(tag)").floats
    #expect(zip(both.floats, one + one).allSatisfy { abs($0 - $1) <= 1e-6 })
  }

  @Test func resizesWhatIsSmallerThanTheKernel() throws {
    #expect(
      difference(BicubicResize.resize(try array("tiny_source"), scale: 0.25), try array("tiny_d4")) <= 1e-6)
  }

  @Test(arguments: [("d2", 0.5), ("d3", 1.0 / 3), ("u2", 2.0)])
  func roundsLikeMATLAB(tag: String, scale: Double) throws {
    let clean = try ImageReader.read(ImageFixture.path("../metrics/a_clean.png"))
    #expect(BicubicResize.resize(clean, scale: scale).sampleValues == (try array("resize8_\(tag)")).floats)
  }

  /// The published baseline: bicubic at x2 on Set5 has 33.66 dB on Y.
  @Test func bicubicBaselineOfSet5() throws {
    guard let root = ProcessInfo.processInfo.environment["BRAID_DATA"] else { return }
    let folder = root + "/images/test/set5"
    var sum = 0.0
    let names = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix(".png") }
    for name in names {
      let image = try ImageReader.read(folder + "/" + name)
      let (width, height) = (image.width / 2 * 2, image.height / 2 * 2)
      let values = image.tensor().sliced(axis: 1, 0..<height).sliced(axis: 2, 0..<width)
      let whole = ImageBuffer(tensor: values)
      let back = BicubicResize.resize(BicubicResize.resize(whole, scale: 0.5), scale: 2)
      sum += try ImageQuality.psnr(whole, back, cropBorder: 2, yChannel: true)
    }
    #expect(names.count == 5)
    #expect(abs(sum / 5 - 33.66) < 0.02, "\(sum / 5)")
  }

  @Test(arguments: [("blur_8", 0.8), ("blur_20", 2.0)])
  func blursWithAGaussian(tag: String, sigma: Double) throws {
    #expect(difference(GaussianBlur.blur(try array("resize_source"), sigma: sigma), try array(tag)) <= 1e-6)
  }

  @Test func noiseHasItsStrengthAndSeed() throws {
    let grey = Tensor.full([100, 120, 3], 0.5)
    let noise = Degradation.noise(sigma: 25...25)
    var (one, two, other) = (Philox(seed: 3), Philox(seed: 3), Philox(seed: 4))
    let a = try noise.apply(to: grey, using: &one).floats
    #expect(a == (try noise.apply(to: grey, using: &two)).floats)
    #expect(a != (try noise.apply(to: grey, using: &other)).floats)
    #expect(a != (try noise.apply(to: grey, using: &one)).floats)
    let deviation = (a.map { Double($0 - 0.5) * Double($0 - 0.5) }.reduce(0, +) / Double(a.count))
      .squareRoot()
    #expect(abs(deviation * 255 - 25) < 0.5)
  }

  @Test func jpegIsWhatTheFileWouldHold() throws {
    let image = try ImageReader.read(ImageFixture.path("../metrics/a_clean.png"))
    let clean = Tensor(image.floats(), shape: [image.height, image.width, 3])
    var generator = Philox(seed: 1)
    let coarse = try Degradation.jpeg(quality: 10...10).apply(to: clean, using: &generator)
    let fine = try Degradation.jpeg(quality: 95...95).apply(to: clean, using: &generator)
    #expect(coarse.shape == clean.shape)
    #expect(ImageQuality.psnr(coarse, clean) < ImageQuality.psnr(fine, clean))
    let bytes = try ImageWriter.encode(image, as: .jpeg, options: .init(jpegQuality: 10)).bytes
    #expect(try ImageReader.read(bytes: bytes).floats() == coarse.floats)
  }

  @Test func chainsAreConfiguredInJSON() throws {
    let text = """
      [{"kind": "blur", "sigma": [0.2, 1.5]}, {"kind": "downscale", "factor": 2},
       {"kind": "noise", "sigma": 15}, {"kind": "jpeg", "quality": [30, 95]}]
      """
    let chain = try JSONDecoder().decode([Degradation].self, from: Data(text.utf8))
    #expect(
      chain == [
        .blur(sigma: 0.2...1.5), .downscale(factor: 2), .noise(sigma: 15...15), .jpeg(quality: 30...95),
      ])
    #expect(try JSONDecoder().decode([Degradation].self, from: JSONEncoder().encode(chain)) == chain)
    #expect(Degradation.scale(of: chain) == 2)
    var generator = Philox(seed: 5)
    let small = try Degradation.apply(chain, to: try array("resize_source"), using: &generator)
    #expect(small.shape == [7, 9, 3])
    for bad in [
      #"{"kind": "fog"}"#, #"{"kind": "noise", "sigma": [50, 5]}"#, #"{"kind": "noise", "sigma": [5, 500]}"#,
      #"{"kind": "noise", "sgima": 5, "sigma": 5}"#, #"{"kind": "downscale", "factor": 0}"#,
      #"{"kind": "jpeg"}"#,
    ] {
      #expect(throws: DecodingError.self, "\(bad)") {
        try JSONDecoder().decode(Degradation.self, from: Data(bad.utf8))
      }
    }
  }
}
