import BraidNN
import BraidTensor
import Foundation
import Testing

@testable import BraidTraining

@Suite struct TrainerTests {
  struct Regression {
    let store = ParameterStore()
    let weight: Parameter
    let bias: Parameter

    init() {
      weight = store.root.parameter("weight", [4, 6], init: .fanIn(6))
      bias = store.root.parameter("bias", [4])
      store.initialize(seed: 3)
    }

    func loss(_ generator: Philox) -> Tensor {
      var g = generator
      let x = Tensor.normal([16, 6], using: &g)
      let target = x.sliced(axis: 1, 0..<4) * 2 + 0.5
      return (linear(x, weight.value, bias: bias.value) - target).squared().mean()
    }
  }

  static func plan(_ steps: Int) -> TrainingPlan {
    TrainingPlan(
      steps: steps, learningRate: .init(shape: .cosine, peak: 0.05, warmUpSteps: 5), averageDecay: 0.9,
      gradientClip: 1, checkpointEvery: 7, validateEvery: 20, logEvery: 10, seed: 5)
  }

  static func folder() -> String { NSTemporaryDirectory() + "/braid-trainer-\(UUID().uuidString)" }

  @Test func lossFallsAndIsLogged() throws {
    let folder = TrainerTests.folder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let model = Regression()
    let trainer = try Trainer(model.store, plan: TrainerTests.plan(200), folder: folder, fingerprint: "a")
    try trainer.run(loss: { _, generator in model.loss(generator) }, validate: { ["twice": 2] })
    let records = trainer.log.records()
    let losses = records.compactMap { $0.values["loss"] }
    #expect(records.map(\.step) == Array(stride(from: 10, through: 200, by: 10)))
    #expect(losses.last! < losses.first! / 20)
    #expect(records.filter { $0.values["twice"] != nil }.count == 10)
  }

  @Test(arguments: [1, 7, 12, 33])
  func aRunThatIsKilledEndsWithTheSameBits(_ killedAt: Int) throws {
    struct Killed: Error {}
    func run(_ folder: String, killedAt: Int?) throws -> Trainer {
      let model = Regression()
      let trainer = try Trainer(model.store, plan: TrainerTests.plan(40), folder: folder, fingerprint: "a")
      try trainer.run { step, generator in
        if step == killedAt { throw Killed() }
        return model.loss(generator)
      }
      return trainer
    }
    let (whole, broken) = (TrainerTests.folder(), TrainerTests.folder())
    defer { for folder in [whole, broken] { try? FileManager.default.removeItem(atPath: folder) } }
    let expected = try run(whole, killedAt: nil)
    #expect(throws: Killed.self) { try run(broken, killedAt: killedAt) }
    let resumed = try run(broken, killedAt: nil)
    for (a, b) in zip(expected.parameters, resumed.parameters) { #expect(a.value.floats == b.value.floats) }
    for (a, b) in zip(expected.average, resumed.average) { #expect(a.floats == b.floats) }
    #expect(expected.log.records().map(\.step) == resumed.log.records().map(\.step))
  }

  @Test func aStateOfAnotherRunIsRefused() throws {
    let folder = TrainerTests.folder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let model = Regression()
    let trainer = try Trainer(model.store, plan: TrainerTests.plan(8), folder: folder, fingerprint: "a")
    try trainer.run(loss: { _, generator in model.loss(generator) })
    #expect(throws: TrainingError.self) {
      try Trainer(Regression().store, plan: TrainerTests.plan(8), folder: folder, fingerprint: "b")
    }
  }

  @Test func aLossThatIsNotFiniteStops() throws {
    let folder = TrainerTests.folder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let trainer = try Trainer(
      Regression().store, plan: TrainerTests.plan(8), folder: folder, fingerprint: "a")
    #expect(throws: TrainingError.self) {
      try trainer.run(loss: { _, _ in Tensor(Float.nan) })
    }
  }

  @Test func schedules() {
    let cosine = LearningRateSchedule(peak: 1, final: 0.1, warmUpSteps: 10)
    #expect(cosine.rate(step: 0, of: 110) == 0.1)
    #expect(cosine.rate(step: 9, of: 110) == 1)
    #expect(cosine.rate(step: 10, of: 110) == 1)
    #expect(abs(cosine.rate(step: 60, of: 110) - 0.55) < 1e-6)
    #expect(abs(cosine.rate(step: 110, of: 110) - 0.1) < 1e-6)
    let step = LearningRateSchedule(shape: .step, peak: 1, milestones: [5, 8])
    #expect([4, 5, 8].map { step.rate(step: $0, of: 10) } == [1, 0.5, 0.25])
  }
}
