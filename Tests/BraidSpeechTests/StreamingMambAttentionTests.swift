import BraidMixers
import BraidNN
import BraidTensor
import BraidTestSupport
import Foundation
import Testing

@testable import BraidSpeech

@Suite struct StreamingMambAttentionTests {
  static let small = StreamingMambAttention.Configuration(
    frameSize: 96, hop: 32, encoderChannels: [4, 6], channels: 8, blocks: 2, heads: 2, stateSize: 4, window: 5
  )

  static func model(_ c: StreamingMambAttention.Configuration, seed: UInt64 = 1) throws
    -> StreamingMambAttention
  {
    let model = try StreamingMambAttention(c)
    model.parameters.initialize(seed: seed)
    return model
  }

  static func noise(_ shape: Shape, seed: UInt64 = 7) -> Tensor {
    var generator = Philox(seed: seed)
    return Tensor.normal(shape, standardDeviation: 0.1, using: &generator)
  }

  @Test func aMaskOfOneGivesTheSignalBack() throws {
    let model = try Self.model(Self.small)
    for parameter in model.parameters.parameters where parameter.key.hasPrefix("decoder.2") {
      parameter.assign(.zeros(parameter.shape))
    }
    let x = Self.noise([2, 333])
    #expect(relativeError(model.enhanced(x), x) < 1e-5)
  }

  @Test func framesOneByOneAgreeWithAllAtOnce() throws {
    let model = try Self.model(Self.small)
    model.parameters.freeze()
    let (_, features) = model.analyzed(Self.noise([2, 700]))
    var whole = model.initialState(batch: 2)
    let expected = model(features, state: &whole)
    var state = model.initialState(batch: 2)
    var steps: [Tensor] = []
    for t in 0..<features.shape[1] {
      steps.append(model(features.sliced(axis: 1, t..<t + 1), state: &state))
    }
    #expect(relativeError(Tensor.concatenated(steps, axis: 1), expected) < 1e-5)
  }

  @Test func silenceStaysSilent() throws {
    let model = try Self.model(Self.small)
    model.parameters.freeze()
    #expect(model.enhanced(.zeros([1, 500])).floats == [Float](repeating: 0, count: 500))
  }

  @Test func gradientsAgreeWithDifferences() throws {
    let model = try Self.model(Self.small)
    let x = Self.noise([1, 300])
    for key in ["encoder.0.weight", "blocks.1.time_mamba.mixer.in_proj.weight", "mask.slope"] {
      let parameter = try #require(model.parameters.parameters.first { $0.key == key })
      let start = parameter.value.duplicated()
      let error = gradientError([start]) { inputs in
        parameter.assign(inputs[0])
        return model.estimate(x).spectrum.squared().sum() + model.enhanced(x).squared().sum() * 10
      }
      parameter.assign(start)
      #expect(error < 2e-2, "\(key)")
    }
  }

  @Test func timing() throws {
    guard ProcessInfo.processInfo.environment["TIMING"] != nil else { return }
    let model = try Self.model(.init())
    model.parameters.makeTrainable()
    print("parameters", model.parameters.parameterCount)
    let x = Self.noise([4, 32000])
    for round in 0..<4 {
      let start = ContinuousClock.now
      let e = model.estimate(x)
      let loss = (e.signal - x).squared().mean() + e.magnitude.mean() + e.spectrum.squared().mean()
      let middle = ContinuousClock.now
      _ = loss.gradients(for: model.parameters.parameters.map(\.value))
      print(round, "forward", middle - start, "backward", ContinuousClock.now - middle)
    }
    OperationClock.start()
    let e = model.estimate(x)
    _ = ((e.signal - x).squared().mean() + e.magnitude.mean() + e.spectrum.squared().mean())
      .gradients(for: model.parameters.parameters.map(\.value))
    for entry in OperationClock.stop().prefix(30) { print(entry.name, entry.seconds, entry.calls) }
  }
}
