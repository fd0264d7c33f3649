import BraidCheckpoint
import BraidNN
import BraidTensor
import BraidTestSupport
import BraidTraining
import Foundation
import Testing

@testable import BraidSpeech

/// MetricGAN's discriminator against the same network in PyTorch, in double precision.
@Suite struct MetricDiscriminatorTests {
  private func fixture() throws -> (network: MetricDiscriminator, store: ParameterStore, file: Checkpoint) {
    let url = try #require(
      Bundle.module.url(forResource: "Fixtures/discriminator", withExtension: "safetensors"))
    let file = try Checkpoint.open(url.path)
    let store = ParameterStore()
    var network = MetricDiscriminator(store.root, width: 4)
    network.iterations = 3000
    for parameter in store.parameters { parameter.assign(try file.tensor(parameter.key)) }
    return (network, store, file)
  }

  @Test func scoresAndGradients() throws {
    let (network, store, file) = try fixture()
    store.makeTrainable()
    let clean = try file.tensor("clean"), estimate = try file.tensor("estimate").requiringGradient()
    let scores = network(clean, estimate)
    #expect(relativeError(scores, try file.tensor("scores")) < 1e-6)
    let weight = try #require(store.parameters.first).value
    let gradients = (scores * Tensor([1, -2] as [Float], shape: [2])).sum().gradients(for: [estimate, weight])
    #expect(relativeError(gradients[0], try file.tensor("gradient")) < 1e-4)
    #expect(relativeError(gradients[1], try file.tensor("weight_gradient")) < 1e-4)
  }

  @Test func theLargestSingularValue() {
    // Singular values 5, 3, 0.
    let matrix = Tensor([3, 0, 0, 0, 5, 0] as [Float], shape: [2, 3])
    #expect(abs(MetricDiscriminator.largestSingularValue(matrix, iterations: 30).item - 5) < 1e-5)
  }

  @Test func eachSideLearnsFromItsOwnTerms() throws {
    let (network, store, file) = try fixture()
    store.makeTrainable()
    let clean = try file.tensor("clean"), estimate = try file.tensor("estimate").requiringGradient()
    let inputs = [estimate] + store.parameters.map(\.value)
    func gradients(_ weight: Float, _ metrics: [Float]?) -> [Tensor] {
      network.loss(
        clean: clean, estimate: estimate, metrics: metrics, weight: weight, generator: Philox(seed: 3)
      ).gradients(for: inputs)
    }
    let (one, two, other) = (gradients(1, [0.3, 0.6]), gradients(2, [0.3, 0.6]), gradients(1, [0.9, 0]))
    // The estimate's gradient follows the weight and not the metric, the network's the metric and not the weight.
    #expect(relativeError(two[0], one[0] * 2) < 1e-6 && one[0].absolute().max().item > 0)
    #expect(relativeError(other[0], one[0]) < 1e-6)
    for i in 1..<inputs.count { #expect(relativeError(two[i], one[i]) < 1e-6) }
    #expect((1..<inputs.count).contains { relativeError(other[$0], one[$0]) > 1e-2 })
    #expect(gradients(1, nil).allSatisfy { $0.absolute().max().item.isFinite })
  }
}
