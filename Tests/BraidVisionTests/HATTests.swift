import BraidCheckpoint
import BraidTestSupport
import Foundation
import Testing

@testable import BraidVision

@Suite struct HATTests {
  static let tiny = HATConfiguration(
    channels: 24, depths: [2, 2], heads: 3, window: 8, compressRatio: 3, squeezeFactor: 6, scale: 2)

  /// Name of the fixture, configuration, published number of parameters, tolerated relative error.
  static let published: [(String, HATConfiguration, Int?, Double)] = [
    ("hat_tiny_x2", tiny, nil, 1e-5),
    ("hat_s_x4", .small(scale: 4), 9_621_183, 1e-4),
    ("hat_x4", .base(scale: 4), 20_772_507, 1e-4),
    ("hat_l_x4", .large(scale: 4), 40_846_575, 1e-4),
  ]

  @Test(arguments: published.indices)
  func outputEqualsTheReference(_ index: Int) throws {
    let (name, configuration, count, tolerance) = HATTests.published[index]
    let fixture = try ReferenceFixture(Bundle.module.resourceURL!.appendingPathComponent("Fixtures/\(name)"))
    let path = NSTemporaryDirectory() + "/braid-\(name)-\(getpid()).safetensors"
    try fixture.writeWeights(to: path)
    defer { try? FileManager.default.removeItem(atPath: path) }
    let model = HAT(configuration)
    if let count { #expect(model.parameters.parameterCount == count) }
    try model.parameters.load(from: try Checkpoint.open(path))
    model.parameters.freeze()

    let input = try fixture.data.tensor("input").permuted(0, 2, 3, 1).contiguous()
    let expected = try fixture.data.tensor("output").permuted(0, 2, 3, 1).contiguous()
    let (height, width, unit) = (input.shape[1], input.shape[2], model.sizeMultiple)
    let padded = input.paddedImage(
      bottom: (unit - height % unit) % unit, right: (unit - width % unit) % unit, mode: .reflect)
    let whole = withoutGradient { model(padded) }
    let output = whole.sliced(axis: 1, 0..<height * model.scale).sliced(axis: 2, 0..<width * model.scale)
    let error = relativeError(output, expected)
    #expect(error < tolerance, "\(name): relative error \(error)")
  }

  @Test func parameterCountsOfAllScalesAreThePublishedOnes() {
    #expect(HAT(.small(scale: 2)).parameters.parameterCount == 9_473_471)
    #expect(HAT(.small(scale: 3)).parameters.parameterCount == 9_658_111)
    #expect(HAT(.base(scale: 2)).parameters.parameterCount == 20_624_795)
    #expect(HAT(.base(scale: 3)).parameters.parameterCount == 20_809_435)
    #expect(HAT(.large(scale: 2)).parameters.parameterCount == 40_698_863)
    #expect(HAT(.large(scale: 3)).parameters.parameterCount == 40_883_503)
  }

  @Test(arguments: [(48, 40), (72, 104), (16, 16), (8, 24)])
  func tilesInStepGiveTheUntiledResult(_ height: Int, _ width: Int) throws {
    let model = HAT(HATTests.tiny)
    model.parameters.initialize(seed: 3)
    var g = Philox(seed: 5)
    for parameter in model.parameters.parameters where parameter.key.contains("bias") {
      parameter.assign(.normal(parameter.shape, standardDeviation: 0.2, using: &g))
    }
    model.parameters.freeze()
    let image = Tensor.uniform([1, height, width, 3], using: &g)
    let whole = withoutGradient { model(image) }
    var shares: [Double] = []
    // So little memory that tiles are as small as they get and the maps are spilled.
    let tiled = try model.runExactly(image: image, memoryBudget: 1) { shares.append($0) }
    #expect(relativeError(tiled, whole) < 1e-5)
    #expect(shares == shares.sorted() && shares.last == 1)
    let roomy = try model.runExactly(image: image, memoryBudget: 1 << 30) { _ in }
    #expect(relativeError(roomy, whole) < 1e-5)
    struct Stop: Error {}
    #expect(throws: Stop.self) {
      try model.runExactly(image: image, memoryBudget: 1) { _ in throw Stop() }
    }
  }
}
