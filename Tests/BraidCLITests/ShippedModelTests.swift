import Braid
import Foundation
import Testing

@Suite struct ShippedModelTests {
  @Test func everyShippedModelOpensAndIsFinite() throws {
    #expect(!ShippedModels.all.isEmpty)
    for model in ShippedModels.all {
      let parameters =
        ModelCatalogue.entry(model.name)?.task == .enhance
        ? try EnhancementModelRequest(model: model.name).load().model.parameters
        : try RestorationModelRequest(model: model.name).load().model.parameters
      #expect(parameters.parameterCount < 1_200_000)
      #expect(parameters.parameters.allSatisfy { $0.value.isFinite })
      #expect(model.bytes.count < 2_500_000)
    }
  }

  /// A voiced sound in white noise; what the model reaches on recordings stands in its card.
  @Test func theSpeechModelRemovesNoise() throws {
    let model = try EnhancementModelRequest(model: "enhance-s").load().model
    var draw = Philox(seed: 3)
    // A pitch that falls, syllables, and formants near 500 and 1500 Hz.
    func voice(_ t: Double) -> Double {
      var sum = 0.0
      for k in 1...30 {
        let frequency = Double(k) * (140 - 30 * t)
        let low = (frequency - 500) / 150
        let high = (frequency - 1500) / 200
        let weight = 1 / (1 + low * low) + 0.4 / (1 + high * high)
        sum += weight * sin(Double(k) * 2 * Double.pi * (140 * t - 15 * t * t))
      }
      return sum * max(0, sin(5 * Double.pi * t)).squareRoot()
    }
    let clean = (0..<32000).map { Float(0.1 * voice(Double($0) / 16000)) }
    let noise = (0..<32000).map { _ in draw.uniform(-1...1) }
    let noisy = NoisyMixture.mixed(clean, noise, ratio: 0).noisy
    let enhanced = model.enhanced(Tensor(noisy, shape: [1, 32000])).floats
    let before = SpeechQuality.scaleInvariantRatio(noisy, reference: clean)
    #expect(SpeechQuality.scaleInvariantRatio(enhanced, reference: clean) > before + 3)
  }

  /// Floors well below what was measured; what a model reaches stands in the README.
  @Test(arguments: [(Float(10), 2.0), (25, 6), (50, 9)])
  func theDenoiserHelpsAtEveryStrength(_ sigma: Float, _ gain: Double) async throws {
    let scene = SampleScene.render(width: 128, height: 96)
    var generator = Philox(seed: 7)
    let clean = Tensor(scene.floats(), shape: [96, 128, 3])
    let noisy = try Degradation.noise(sigma: sigma...sigma).apply(to: clean, using: &generator)
    let model = try RestorationModelRequest(model: "contrast-s-denoise").load().model
    let restored = try await RestorePipeline(model).run(noisy.unsqueezed(0))
    let before = ImageQuality.psnr(noisy, clean)
    let after = ImageQuality.psnr(restored.reshaped(clean.shape), clean)
    #expect(after > before + gain)
  }

  @Test func theUpscalerBeatsBicubicInterpolation() async throws {
    let scene = SampleScene.render(width: 128, height: 96)
    let small = BicubicResize.resize(scene, scale: 0.5)
    let model = try RestorationModelRequest(scale: 2).load().model
    let restored = try await RestorePipeline(model).run(small)
    let before = try ImageQuality.psnr(
      BicubicResize.resize(small, scale: 2), scene, cropBorder: 2, yChannel: true)
    let after = try ImageQuality.psnr(restored, scene, cropBorder: 2, yChannel: true)
    #expect(after > before + 0.5)
  }
}
