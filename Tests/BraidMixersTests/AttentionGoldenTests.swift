import BraidCheckpoint
import BraidNN
import BraidTensor
import BraidTestSupport
import Foundation
import Testing

@testable import BraidMixers

/// Attention layers as Hugging Face transformers computes them (Tests/Generators/make_attention_fixtures.py).
@Suite struct AttentionGoldenTests {
  static func fixture() throws -> Checkpoint {
    let url = try #require(
      Bundle.module.url(forResource: "attention", withExtension: "safetensors", subdirectory: "Fixtures"))
    return try Checkpoint.open(url.path)
  }

  /// The mixer with the published weights gives the published output, at once and step by step.
  private func check<Mixer: CausalMixer>(_ name: String, _ make: (ParameterScope) throws -> Mixer) throws {
    let fixture = try Self.fixture()
    let store = ParameterStore()
    let mixer = try make(store.root)
    let prefix = "\(name).weights."
    let stored = Set(fixture.entries.map(\.key).filter { $0.hasPrefix(prefix) })
    #expect(Set(store.parameters.map { prefix + $0.key }) == stored)
    for parameter in store.parameters { parameter.assign(try fixture.tensor(prefix + parameter.key)) }
    let (x, y) = (try fixture.tensor("\(name).input"), try fixture.tensor("\(name).output"))
    #expect(relativeError(mixer(x), y) < 2e-6)
    #expect(relativeError(mixer.reference(x), y) < 2e-6)
    let steps = AttentionMixerTests.streamed(mixer, x, Array(repeating: 1, count: x.shape[1]))
    #expect(relativeError(steps, y) < 2e-6)
  }

  /// Sinks, biases, a sliding window, and YaRN without rounding.
  @Test func gptOSS() throws {
    try check("gpt_oss") {
      try GroupedQueryAttention(
        $0,
        .init(
          AttentionHeads(
            channels: 12, heads: 4, keyHeads: 2, headWidth: 8, bias: true,
            rotary: RotaryEmbedding(
              dimensions: 8,
              scaling: .yarn(factor: 8, originalPositions: 16, fast: 4, slow: 1, truncated: false)),
            learntSinks: true),
          window: 5))
    }
  }

  /// A cap on the scores, and a scale of its own.
  @Test func gemma2() throws {
    try check("gemma2") {
      try GroupedQueryAttention(
        $0,
        .init(
          AttentionHeads(
            channels: 12, heads: 2, keyHeads: 1, headWidth: 8, rotary: RotaryEmbedding(dimensions: 8),
            scale: 1 / Float(5).squareRoot(), softCap: 2)))
    }
  }

  /// Queries with a latent vector of their own, channels turned pair by pair.
  @Test func deepSeekV2() throws {
    try check("deepseek_v2") {
      try MultiHeadLatentAttention(
        $0,
        .init(
          channels: 12, heads: 3, latentWidth: 8, keyWidth: 4, rotaryWidth: 6, valueWidth: 5,
          queryLatentWidth: 7, rotary: RotaryEmbedding(dimensions: 6, form: .interleaved), bias: true))
    }
  }

  /// YaRN with both of its scales.
  @Test func deepSeekV3() throws {
    let (low, high) = (0.07 * log(8.0) + 1, 0.1 * log(8.0) + 1)
    try check("deepseek_v3") {
      try MultiHeadLatentAttention(
        $0,
        .init(
          channels: 12, heads: 3, latentWidth: 8, keyWidth: 4, rotaryWidth: 6, valueWidth: 5,
          rotary: RotaryEmbedding(
            dimensions: 6, form: .interleaved,
            scaling: .yarn(
              factor: 8, originalPositions: 16, fast: 4, slow: 1, attentionFactor: high / low)),
          scale: Float(low * low / 10.0.squareRoot()), bias: true))
    }
  }

  @Test func rotaryFrequencies() throws {
    let fixture = try Self.fixture()
    let scalings: [String: RotaryEmbedding.Scaling] = [
      "linear": .linear(factor: 4),
      "llama3": .llama3(factor: 8, low: 1, high: 4, originalPositions: 64),
      "yarn": .yarn(factor: 8, originalPositions: 64),
      "longrope": .longRope(
        factors: (0..<8).map { 1 + Double($0) / 8 }, attentionFactor: (1 + log(4.0) / log(64.0)).squareRoot()),
    ]
    for (name, scaling) in scalings {
      let (pairs, factor) = RotaryEmbedding(dimensions: 16, scaling: scaling).frequencies
      let expected = try fixture.tensor("rotary.\(name)").floats.map(Double.init)
      #expect(relativeError(pairs + [Float(factor)], expected) < 1e-6, "\(name)")
    }
  }
}
