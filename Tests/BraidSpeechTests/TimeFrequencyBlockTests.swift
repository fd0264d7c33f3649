import BraidNN
import BraidTensor
import BraidTestSupport
import Foundation
import Testing

@testable import BraidSpeech

@Suite struct TimeFrequencyBlockTests {
  static let variants = MambAttention.Mixer.allCases.flatMap { mixer in
    MambAttention.Attention.allCases.map { (mixer, $0) }
  }

  @Test(arguments: variants)
  func everyMixerIsItsEquation(_ mixer: MambAttention.Mixer, _ attention: MambAttention.Attention) throws {
    try check(
      MambAttention.Configuration(
        channels: 8, blocks: 1, heads: 2, stateSize: 3, expansion: 2, mixer: mixer, attention: attention),
      shape: [2, 6, 5, 8])
  }

  /// Sequences that the fused pass takes in several pieces; heads as wide as its kernel and wider; many taps.
  @Test(arguments: [(8, 2, 4, 3), (16, 2, 16, 4), (18, 1, 5, 9)])
  func longSequences(channels: Int, heads: Int, states: Int, taps: Int) throws {
    try check(
      MambAttention.Configuration(
        channels: channels, blocks: 1, heads: heads, stateSize: states, kernelSize: taps, expansion: 2),
      shape: [1, 123, 2, channels])
  }

  private func check(_ c: MambAttention.Configuration, shape: Shape) throws {
    let store = ParameterStore()
    let block = try TimeFrequencyBlock(store.root, c)
    var generator = Philox(seed: 5)
    for parameter in store.parameters {
      parameter.assign(Tensor.normal(parameter.shape, using: &generator) * 0.4)
    }
    let x = Tensor.normal(shape, using: &generator)
    let naive = NaiveTimeFrequency(store, heads: c.heads, stateSize: c.stateSize)
    let numbers = x.floats.map(Double.init)
    let (frames, bins, channels) = (shape[1], shape[2], shape[3])
    var expected: [Double] = []
    for image in 0..<shape[0] {
      let map = (0..<frames).map { (t: Int) -> [[Double]] in
        (0..<bins).map { f in
          let first = ((image * frames + t) * bins + f) * channels
          return Array(numbers[first..<first + channels])
        }
      }
      for frame in naive.block(map, mixer: c.mixer.scopeName) { expected += frame.flatMap { $0 } }
    }
    var inPlace = x.duplicated()
    withoutGradient { block.apply(to: &inPlace) }
    #expect(relativeError(inPlace.floats, expected) < 1e-5)
    store.makeTrainable()
    var recorded = x
    block.apply(to: &recorded)
    #expect(recorded.requiresGradient)
    #expect(relativeError(recorded.floats, expected) < 1e-5)
  }

  @Test(arguments: variants)
  func siblingsEnhanceAndLearn(_ mixer: MambAttention.Mixer, _ attention: MambAttention.Attention) throws {
    let configuration = MambAttention.Configuration(
      channels: 8, blocks: 1, heads: 2, stateSize: 4, expansion: 2, mixer: mixer, attention: attention)
    let again = try JSONDecoder().decode(
      MambAttention.Configuration.self, from: JSONEncoder().encode(configuration))
    #expect(again == configuration)
    let model = try MambAttention(configuration)
    model.parameters.initialize(seed: 3)
    var generator = Philox(seed: 2)
    let signal = Tensor.normal([1, 1650], using: &generator)
    let plain = withoutGradient { model.enhanced(signal) }
    #expect(plain.shape == signal.shape && plain.floats.allSatisfy(\.isFinite))
    model.parameters.makeTrainable()
    // What is recorded takes other paths to the same numbers.
    #expect(relativeError(model.enhanced(signal), plain) < 1e-4)
    let leaves = model.parameters.parameters.map(\.value)
    let gradients = model.estimate(signal).magnitude.squared().mean().gradients(for: leaves)
    let used = zip(model.parameters.parameters, gradients).filter { !$0.0.key.hasPrefix("phase_decoder") }
    #expect(used.allSatisfy { $0.1.floats.allSatisfy(\.isFinite) })
    #expect(used.filter { $0.1.floats.contains { $0 != 0 } }.count > used.count * 3 / 4)
  }

  @Test func publishedNames() throws {
    func names(_ mixer: MambAttention.Mixer, _ attention: MambAttention.Attention) throws -> Set<String> {
      let model = try MambAttention(
        MambAttention.Configuration(channels: 8, blocks: 1, heads: 2, mixer: mixer, attention: attention))
      return Set(model.parameters.parameters.map(\.key))
    }
    #expect(try names(.mamba, .none).contains("TSMamba.0.time_mamba.backward_blocks.0.mixer.x_proj.weight"))
    let xlstm = try names(.mlstm, .none)
    for name in [
      "norm.bias", "layer.proj_up.weight", "layer.q_proj.weight", "layer.conv.conv.weight",
      "layer.mlstm_cell.igate.bias", "layer.mlstm_cell.outnorm.weight", "layer.learnable_skip",
      "layer.proj_down.bias",
    ] {
      #expect(xlstm.contains("TSxLSTM.0.freq_xlstm.forward_blocks.0." + name))
    }
    #expect(!xlstm.contains { $0.contains("attention") })
  }
}
