import BraidMixers
import BraidNN
import BraidTensor
import BraidTestSupport
import Foundation
import Testing

@Suite struct MixtureOfExpertsTests {
  private static let channels = 6

  private static let configurations: [MixtureOfExperts.Configuration] = {
    func router(_ change: (inout ExpertRouter.Configuration) -> Void) -> ExpertRouter.Configuration {
      var c = ExpertRouter.Configuration(channels: channels, experts: 8, active: 3)
      change(&c)
      return c
    }
    let expert = FeedForward.Configuration(channels: channels, width: 5)
    var narrow = expert
    narrow.channels = 4
    narrow.layout = .ungated
    narrow.function = .reluSquared
    return [
      .init(router: router { _ in }, expert: expert),
      .init(
        router: router { $0.renormalizes = true }, expert: expert, sharedExpert: expert,
        sharedGate: "gate_shared"),
      .init(
        router: router { $0.scoring = .softmaxOfChosen },
        expert: .init(
          channels: channels, width: 5, function: .gelu, layout: .fused(gateAndUp: "input", down: "output")),
        stacksExperts: true),
      .init(
        router: router {
          $0.scoring = .sigmoid
          $0.renormalizes = true
          $0.sumEpsilon = 1e-20
          $0.scale = 2.5
          $0.groups = 4
          $0.activeGroups = 2
          $0.correctionBias = "bias"
        }, expert: narrow, sharedExpert: expert, latentInput: "into", latentOutput: "out"),
    ]
  }()

  private func make(_ c: MixtureOfExperts.Configuration) throws -> (
    MixtureOfExperts, [String: Tensor], ParameterStore
  ) {
    let store = ParameterStore()
    let layer = try MixtureOfExperts(store.root, c)
    var generator = Philox(seed: 9)
    for parameter in store.parameters {
      parameter.assign(.normal(parameter.shape, standardDeviation: 0.5, using: &generator))
    }
    return (layer, Dictionary(uniqueKeysWithValues: store.values.map { ($0.key, $0.value) }), store)
  }

  /// The literal loop over positions, in double precision.
  private func reference(
    _ c: MixtureOfExperts.Configuration, _ w: [String: Tensor], _ x: [[Double]], routedBy r: [[Double]]
  ) -> [Double] {
    func product(_ key: String, _ v: [Double], slice: Int? = nil) -> [Double] {
      let matrix = slice.map { w[key]!.selected(axis: 0, $0) } ?? w[key]!
      let m = matrix.floats.map(Double.init)
      return (0..<matrix.shape[0]).map { i in
        (0..<v.count).reduce(0) { $0 + m[i * v.count + $1] * v[$1] }
      }
    }
    func apply(_ function: FeedForward.Function, _ v: Double) -> Double {
      switch function {
      case .silu: v / (1 + exp(-v))
      case .gelu: v / 2 * (1 + erf(v / 2.0.squareRoot()))
      case .reluSquared: max(v, 0) * max(v, 0)
      default: .nan
      }
    }
    func feedForward(_ c: FeedForward.Configuration, _ prefix: String, _ v: [Double], slice: Int? = nil)
      -> [Double]
    {
      switch c.layout {
      case .separate(let gate, let up, let down):
        let (g, u) = (product(prefix + gate + ".weight", v), product(prefix + up + ".weight", v))
        return product(prefix + down + ".weight", zip(g, u).map { apply(c.function, $0) * $1 })
      case .fused(let both, let down):
        let b = product(both + ".weight", v, slice: slice)
        let inner = (0..<c.width).map { apply(c.function, b[$0]) * b[c.width + $0] }
        return product(down + ".weight", inner, slice: slice)
      case .plain(let up, let down):
        return product(
          prefix + down + ".weight", product(prefix + up + ".weight", v).map { apply(c.function, $0) })
      }
    }
    return zip(x, r).flatMap { x, r -> [Double] in
      let logits = product("gate.weight", r)
      let top = logits.max()!
      let total = logits.reduce(0) { $0 + exp($1 - top) }
      let scores = logits.map { c.router.scoring == .sigmoid ? 1 / (1 + exp(-$0)) : exp($0 - top) / total }
      let bias =
        c.router.correctionBias.map { w[$0]!.floats.map(Double.init) } ?? Array(repeating: 0, count: 8)
      let ranks = zip(scores, bias).map { $0 + $1 }
      let size = 8 / c.router.groups
      let groups = (0..<c.router.groups).sorted { a, b in
        func rank(_ g: Int) -> Double {
          ranks[g * size..<(g + 1) * size].sorted(by: >).prefix(2).reduce(0, +)
        }
        return rank(a) > rank(b)
      }.prefix(c.router.activeGroups)
      let open = (0..<8).filter { groups.contains($0 / size) }
      let chosen = open.sorted { ranks[$0] > ranks[$1] }.prefix(3)
      let sum = chosen.reduce(0) { $0 + scores[$1] }
      let divides = c.router.renormalizes || c.router.scoring == .softmaxOfChosen
      let input = c.latentInput.map { product($0 + ".weight", x) } ?? x
      var y = [Double](repeating: 0, count: input.count)
      for e in chosen {
        let weight = scores[e] / (divides ? sum : 1) * Double(c.router.scale)
        let own = feedForward(c.expert, "experts.\(e).", input, slice: c.stacksExperts ? e : nil)
        for i in y.indices { y[i] += weight * own[i] }
      }
      if let output = c.latentOutput { y = product(output + ".weight", y) }
      if let shared = c.sharedExpert {
        let gate = c.sharedGate.map { 1 / (1 + exp(-product($0 + ".weight", x)[0])) } ?? 1
        y = zip(y, feedForward(shared, "shared_experts.", x)).map { $0 + gate * $1 }
      }
      return y
    }
  }

  private func rows(_ x: Tensor) -> [[Double]] {
    let values = x.floats.map(Double.init)
    return stride(from: 0, to: values.count, by: Self.channels).map { Array(values[$0..<$0 + Self.channels]) }
  }

  @Test(arguments: configurations.indices) func agreesWithTheLoop(_ index: Int) throws {
    let c = Self.configurations[index]
    let (layer, weights, store) = try make(c)
    var generator = Philox(seed: 2)
    let x = Tensor.normal([2, 9, Self.channels], using: &generator)
    let other = Tensor.normal([2, 9, Self.channels], using: &generator)
    #expect(relativeError(layer(x).floats, reference(c, weights, rows(x), routedBy: rows(x))) <= 1e-5)
    // Routed by the layer's input, before attention.
    let routed = layer(x, route: layer.route(other))
    #expect(relativeError(routed.floats, reference(c, weights, rows(x), routedBy: rows(other))) <= 1e-5)
    // One position at a time.
    let steps = (0..<18).flatMap { layer(x.reshaped(18, -1).sliced(axis: 0, $0..<$0 + 1)).floats }
    #expect(relativeError(steps, layer(x).floats.map(Double.init)) <= 1e-5)

    // Small steps do not change the choice; gradients of the input and of every parameter.
    let parameters = store.parameters.filter { $0.key != "bias" }
    let error = gradientError([x] + parameters.map(\.value), step: 2e-3, samples: 6) { inputs in
      for (parameter, value) in zip(parameters, inputs.dropFirst()) { parameter.assign(value) }
      return layer(inputs[0])
    }
    #expect(error <= 2e-2, "\(error)")
  }

  @Test func contradictionsAreErrors() throws {
    let expert = FeedForward.Configuration(channels: 6, width: 5)
    for c in [
      MixtureOfExperts.Configuration(router: .init(channels: 6, experts: 4, active: 5), expert: expert),
      .init(router: .init(channels: 6, experts: 4, active: 2, groups: 3), expert: expert),
      .init(router: .init(channels: 6, experts: 4, active: 3, groups: 4, activeGroups: 2), expert: expert),
      .init(router: .init(channels: 7, experts: 4, active: 2), expert: expert),
      .init(router: .init(channels: 6, experts: 4, active: 2), expert: expert, stacksExperts: true),
      .init(
        router: .init(channels: 6, experts: 4, active: 2),
        expert: .init(channels: 6, width: 5, function: .reluSquared)),
    ] {
      #expect(throws: MixerError.self) { try MixtureOfExperts(ParameterStore().root, c) }
    }
  }

  @Test func scoresThatAreNoNumbersStillChoose() throws {
    let (layer, _, _) = try make(Self.configurations[0])
    let y = layer(Tensor.full([1, 4, Self.channels], .nan))
    #expect(y.shape == [1, 4, Self.channels])
  }
}
