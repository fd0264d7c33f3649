import Braid
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
