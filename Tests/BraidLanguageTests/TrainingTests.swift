import BraidLanguage
import BraidTestSupport
import Foundation
import Testing

@Suite struct TrainingTests {
  /// The mean of -log p(next token), literally.
  @Test(arguments: ["bamba", "lfm2_moe"]) func lossIsTheMeanOverNextTokens(_ name: String) throws {
    let fixture = try PublishedFixture(name)
    let model = try fixture.load()
    let tokens = try fixture.tokens
    let logits = try fixture.logits
    var sum = 0.0
    for t in 0..<tokens.count - 1 {
      let row = logits.selected(axis: 0, t).floats.map(Double.init)
      sum += log(row.reduce(0) { $0 + exp($1) }) - row[tokens[t + 1]]
    }
    let expected = sum / Double(tokens.count - 1)
    let loss = Double(try model.loss([tokens]).item)
    #expect(abs(loss - expected) <= 1e-5 * expected)
    // A negative id is not predicted.
    let masked = Tensor([Int64(3), -100, 5], shape: [1, 3])
    var state = model.initialState(batch: 1)
    let after = withoutGradient { model(Tensor([Int64(3), 0], shape: [1, 2]), state: &state) }
    let row = after.reshaped(2, -1).selected(axis: 0, 1).floats.map(Double.init)
    let wanted = log(row.reduce(0) { $0 + exp($1) }) - row[5]
    #expect(abs(Double(model.loss(masked).item) - wanted) <= 1e-4 * wanted)
    #expect(throws: LanguageModelError.self) { try model.loss([[1]]) }
    #expect(throws: LanguageModelError.self) { try model.loss([[1, 2], [1, 2, 3]]) }
    #expect(throws: LanguageModelError.self) { try model.loss([[1, 640]]) }
  }

  /// Every parameter of every type has a gradient, and one step along it lowers the loss.
  @Test(arguments: PublishedFixture.names) func gradientsLowerTheLoss(_ name: String) throws {
    let fixture = try PublishedFixture(name)
    let model = try fixture.load()
    let text = Array(try fixture.tokens.prefix(20))
    model.store.makeTrainable()
    let parameters = model.store.parameters
    let loss = try model.loss([text])
    let gradients = loss.gradients(for: parameters.map(\.value))
    let squares = gradients.reduce(0.0) { $0 + $1.floats.reduce(0.0) { $0 + Double($1) * Double($1) } }
    #expect(squares.isFinite && squares > 0)
    for (parameter, gradient) in zip(parameters, gradients)
    where !parameter.key.contains("experts") && !parameter.key.contains("adapter")
      && !parameter.key.hasSuffix("correction_bias") && !parameter.key.hasSuffix("expert_bias")
    {
      #expect(gradient.floats.contains { $0 != 0 }, "\(parameter.key)")
    }
    // Between a step up and a step down the loss changes by 2 step |g|^2. Where a router chooses otherwise on the
    // way the loss jumps; not at every step's length.
    let values = parameters.map(\.value.detached)
    let changes = [1e-3, 3e-4, 1e-4].map { length -> Double in
      let losses = [length, -length].map { length in
        for ((parameter, value), gradient) in zip(zip(parameters, values), gradients) {
          parameter.assign(value + gradient * Float(length / squares.squareRoot()))
        }
        return withoutGradient { model.loss(Tensor(text.map { Int64($0) }, shape: [1, text.count])) }.item
      }
      return Double(losses[0] - losses[1]) / (2 * length * squares.squareRoot())
    }
    #expect(changes.contains { abs($0 - 1) < 0.05 }, "\(changes)")
  }

  @Test func trainerLearnsAToyLanguage() throws {
    let text = """
      {"model_type": "lfm2", "vocab_size": 12, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
       "layer_types": ["conv", "full_attention"], "num_attention_heads": 2, "num_key_value_heads": 1,
       "block_auto_adjust_ff_dim": false}
      """
    let model = try HybridLM(HybridLMConfiguration(JSONValue(parsing: text)))
    model.store.initialize(seed: 3)
    let folder = NSTemporaryDirectory() + "braid-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let plan = TrainingPlan(steps: 60, learningRate: .init(peak: 0.01), averageDecay: 0, validateEvery: 1000)
    let trainer = try Trainer(model.store, plan: plan, folder: folder, fingerprint: "toy")
    func texts(_ generator: Philox) -> [[Int]] {
      var generator = generator
      return (0..<4).map { _ in
        let start = generator.integer(12)
        return (0..<16).map { (start + 5 * $0) % 12 }
      }
    }
    let before = try model.loss(texts(Philox(seed: 1))).item
    try trainer.run(loss: { _, generator in try model.loss(texts(generator)) })
    let after = try model.loss(texts(Philox(seed: 1))).item
    #expect(after < 0.25 * before, "\(before) to \(after)")
    model.store.freeze()
    var state = model.initialState(batch: 1)
    #expect(try model.generate(after: [1, 6, 11, 4], count: 4, state: &state) == [9, 2, 7, 0])
  }

  @Test(arguments: ["mamba", "mamba2", "olmo_hybrid"]) func gradientsOfInitialStates(_ name: String) throws {
    let model = try PublishedFixture(name).load()
    let tuned = TrainedInitialState(of: model)
    let texts = Tensor((0..<12).map { Int64($0 * 11 % 64) }, shape: [2, 6])
    var generator = Philox(seed: 5)
    let names = tuned.store.parameters.map(\.key)
    let values = tuned.store.parameters.map {
      Tensor.normal($0.shape, standardDeviation: 0.3, using: &generator)
    }
    let error = gradientError(values, samples: 5) { inputs in
      let given = Dictionary(uniqueKeysWithValues: zip(names, inputs))
      let state = model.initialState(batch: 2).mapped { name, tensor in
        given[name].map { $0.broadcast(to: tensor.shape).contiguous() } ?? tensor
      }
      return model.loss(texts, from: state)
    }
    #expect(error <= 2e-2, "\(error)")
  }

  /// With all weights frozen the initial states alone learn a text, and serve generation from a file.
  @Test(arguments: ["mamba2", "olmo_hybrid"]) func initialStatesLearn(_ name: String) throws {
    let model = try PublishedFixture(name).load()
    let before = model.store.parameters.map { $0.value.floats }
    let tuned = TrainedInitialState(of: model)
    let texts = Tensor((0..<32).map { Int64($0 % 8 * 7) }, shape: [2, 16])
    let folder = NSTemporaryDirectory() + "braid-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let plan = TrainingPlan(steps: 40, learningRate: .init(peak: 0.1), averageDecay: 0, validateEvery: 1000)
    let trainer = try Trainer(tuned.store, plan: plan, folder: folder, fingerprint: "state")
    let first = tuned.loss(texts).item
    #expect(abs(first - model.loss(texts).item) <= 1e-5 * first)
    try trainer.run(loss: { _, _ in tuned.loss(texts) })
    let last = tuned.loss(texts).item
    #expect(last < 0.9 * first, "\(first) to \(last)")
    #expect(model.store.parameters.map { $0.value.floats } == before)

    let path = folder + "/state.safetensors.tuned"
    try tuned.state(batch: 1).save(to: path)
    var state = try MixerState(contentsOf: path, like: model.initialState(batch: 1))
    #expect(try model.generate(after: [1, 2], count: 3, state: &state).count == 3)
  }
}
