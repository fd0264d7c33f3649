import Foundation
import Testing

@testable import BraidVision

@Suite struct SampleSceneTests {
  @Test func drawsTheSamePictureEachTime() throws {
    let scene = SampleScene.render()
    #expect((scene.width, scene.height, scene.channels, scene.depth) == (384, 256, 3, 8))
    #expect(SampleScene.render() == scene)
    // It has something to restore: many tones, fine structure.
    guard case .eight(let samples) = scene.samples else { return }
    #expect(Set(samples).count > 200)
    let coarse = BicubicResize.resize(BicubicResize.resize(scene, scale: 0.5), scale: 2)
    #expect(try ImageQuality.psnr(scene, coarse) < 32)
    if let path = ProcessInfo.processInfo.environment["BRAID_SCENE_SAMPLE"] {
      try ImageWriter.write(
        SideBySide.join([SampleScene.render(width: 1152, height: 768)]), to: path + "/large.png")
      try ImageWriter.write(scene, to: path + "/scene.png")
    }
  }

  @Test func joinsPicturesOfDifferentKinds() {
    let small = ImageBuffer.noise(width: 3, height: 4, channels: 1, depth: 16)
    let large = ImageBuffer.noise(width: 7, height: 9, channels: 3, depth: 8)
    let strip = SideBySide.join([small, large], gap: 2)
    #expect((strip.width, strip.height, strip.channels) == (15, 9, 3))
    #expect(
      Array(strip.sampleValues[strip.width * 3 * 8..<strip.width * 3 * 8 + 24])
        == [Float](repeating: 255, count: 24))
    #expect(Array(strip.sampleValues[24..<45]) == Array(large.sampleValues[..<21]))
  }
}
