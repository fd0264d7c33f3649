import BraidNN
import BraidTensor
import BraidTestSupport
import Testing

@testable import BraidCheckpoint

@Suite struct HeldWeightsTests {
  /// A small language model's kinds of parameters.
  struct Model {
    let store = ParameterStore()
    let embedding: Embedding
    let feedForward: GatedFeedForward
    let norm: RMSNorm
    let router: Linear
    let experts: Parameter
    let kernel: Parameter

    init(names: GatedFeedForward.Names = .projections) {
      let root = store.root
      embedding = Embedding(root("embed_tokens"), count: 300, channels: 64)
      feedForward = GatedFeedForward(root("mlp"), channels: 64, hidden: 96, names: names)
      norm = RMSNorm(root("norm"), channels: 64, offset: 1)
      router = Linear(root("router"), inputs: 64, outputs: 80, bias: false, keepsPrecision: true)
      experts = root("experts").factor("weight", [3, 64, 64], init: .fanIn(64))
      kernel = root("conv1d").parameter("weight", [64, 1, 80], init: .fanIn(4))
    }

    func callAsFunction(_ ids: Tensor) -> Tensor {
      let x = embedding(ids)
      let y = feedForward(norm(x), residual: x)
      let z = linear(y, experts.factor(at: 2)) * router(y).sliced(axis: -1, 0..<64)
      return embedding.logits(z)
    }
  }

  @Test(arguments: WeightFormat.allCases, [GatedFeedForward.Names.projections, .fused])
  func modelsRunWithHeldWeights(format: WeightFormat, names: GatedFeedForward.Names) throws {
    let trained = Model(names: names)
    trained.store.initialize(seed: 3)
    let ids = Tensor((0..<40).map { Int64($0 * 7) }, shape: [2, 20])
    let few = ids.sliced(axis: 1, 0..<2)
    let (expected, expectedFew) = (trained(ids), trained(few))
    try Fixture.withFolder { folder in
      for type in [StoredType.float32, .bfloat16, .float16] {
        try SafetensorsWriter.write(trained.store.values, to: folder + "model.safetensors") { _, _ in type }
        let model = Model(names: names)
        try model.store.load(from: Checkpoint.open(folder + "model.safetensors"), storedAs: format)
        for parameter in model.store.parameters {
          var isHeld = false
          if case .matrix(let matrix) = parameter.factor { isHeld = matrix.format == format }
          #expect(isHeld == parameter.isFactor, "\(parameter.key)")
          #expect(isHeld || parameter.value.dtype == .float32)
        }
        let limit = [WeightFormat.f32: 1e-2, .bf16: 2e-2, .int8: 5e-2, .q4_0: 0.4][format]!
        #expect(relativeError(model(ids), expected) < limit)
        #expect(relativeError(model(few), expectedFew) < limit)
        if type == .float32 && format == .f32 { #expect(relativeError(model(ids), expected) < 1e-6) }
      }
      let model = Model(names: names)
      let checkpoint = try Checkpoint.open(folder + "model.safetensors")
      try model.store.load(from: checkpoint, storedAs: format, including: { $0.key != "embed_tokens.weight" })
      if case .matrix = model.embedding.weight.factor { Issue.record("the table is held") }
      #expect(throws: CheckpointError.self) {
        try Model().store.load(from: checkpoint, storedAs: format) { $0 == "norm.weight" ? nil : $0 }
      }
    }
  }

  @Test func readingAfterPagesWereGivenBackFindsTheSame() throws {
    try Fixture.withFolder { folder in
      var g = Philox(seed: 9)
      let weight = Tensor.normal([200, 640], using: &g)
      try SafetensorsWriter.write([(key: "weight", value: weight)], to: folder + "a.safetensors")
      let checkpoint = try Checkpoint.open(folder + "a.safetensors")
      for _ in 0..<2 {
        try checkpoint.withPassingTensor("weight") { #expect($0.floats == weight.floats) }
      }
      // What was changed in place stays.
      let own = try checkpoint.tensor("weight")
      own.overwrite(as: Float.self) { $0.update(repeating: 7, count: 200 * 640) }
      try checkpoint.withPassingTensor("weight") { #expect($0.floats.allSatisfy { $0 == 7 }) }
      #expect(own.floats.allSatisfy { $0 == 7 })
    }
  }
}
