import BraidNN
import BraidTensor

/// A feed-forward layer of many experts, of which each position passes through a few.
///
///     y = W_out Σ_{e chosen} w_e expert_e(W_in x) + g shared(x);    g = sigmoid(W_g x), or 1
///
/// An expert computes on its own positions only. The route may be made from another tensor than the one that the
/// experts see: SmallThinker routes by the input of the whole layer, before attention.
public struct MixtureOfExperts: Sendable {
  public struct Configuration: Codable, Hashable, Sendable {
    public var router: ExpertRouter.Configuration
    /// One expert. Its parameters are under `scope.experts.<e>`.
    public var expert: FeedForward.Configuration
    public var experts: String
    /// Whether two tensors hold all experts, under the names of the expert's fused layout.
    public var stacksExperts: Bool
    /// An expert that all positions pass through, under `shared`.
    public var sharedExpert: FeedForward.Configuration?
    public var shared: String
    /// The name of the one-row matrix that gates the shared expert, or nil.
    public var sharedGate: String?
    /// The names of the matrices into and out of a narrower space that the experts live in, or nil.
    public var latentInput: String?
    public var latentOutput: String?
    public var latentBias: Bool

    public init(
      router: ExpertRouter.Configuration, expert: FeedForward.Configuration, experts: String = "experts",
      stacksExperts: Bool = false, sharedExpert: FeedForward.Configuration? = nil,
      shared: String = "shared_experts", sharedGate: String? = nil, latentInput: String? = nil,
      latentOutput: String? = nil,
      latentBias: Bool = false
    ) {
      self.router = router
      self.expert = expert
      self.experts = experts
      self.stacksExperts = stacksExperts
      self.sharedExpert = sharedExpert
      self.shared = shared
      self.sharedGate = sharedGate
      self.latentInput = latentInput
      self.latentOutput = latentOutput
      self.latentBias = latentBias
    }
  }

  public let configuration: Configuration
  public let router: ExpertRouter
  let experts: ExpertBank
  let shared: FeedForward?
  let sharedGate: Linear?
  let latent: (Linear, Linear)?

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    let channels = c.router.channels
    let usesLatent = c.latentInput != nil && c.latentOutput != nil
    try MixerError.require(
      usesLatent || c.expert.channels == channels, "mixture-of-experts",
      "experts of \(c.expert.channels) channels in a layer of \(channels)")
    configuration = c
    router = try ExpertRouter(scope, c.router)
    experts = try ExpertBank(
      scope, name: c.experts, count: c.router.experts, c.expert, stacked: c.stacksExperts)
    shared = try c.sharedExpert.map { try FeedForward(scope(c.shared), $0) }
    sharedGate = c.sharedGate.map { Linear(scope($0), inputs: channels, outputs: 1, bias: false) }
    if let input = c.latentInput, let output = c.latentOutput {
      latent = (
        Linear(scope(input), inputs: channels, outputs: c.expert.channels, bias: c.latentBias),
        Linear(scope(output), inputs: c.expert.channels, outputs: channels, bias: c.latentBias)
      )
    } else {
      latent = nil
    }
  }

  /// The route of x [..., channels].
  public func route(_ x: Tensor) -> ExpertRouter.Route { router(x.reshaped(-1, x.shape[-1])) }

  /// [..., channels] to the same shape; the route is that of x where none is given.
  public func callAsFunction(_ x: Tensor, route given: ExpertRouter.Route? = nil) -> Tensor {
    let rows = x.reshaped(-1, x.shape[-1])
    let route = given ?? router(rows)
    var y = mixed(latent.map { $0.0(rows) } ?? rows, route)
    if let latent { y = latent.1(y) }
    if let shared {
      let common = shared(rows)
      y = y + (sharedGate.map { $0(rows, activation: .sigmoid) * common } ?? common)
    }
    return y.reshaped(x.shape)
  }

  private func mixed(_ rows: Tensor, _ route: ExpertRouter.Route) -> Tensor {
    let active = configuration.router.active
    let positions = rows.shape[0]
    precondition(
      route.experts.count == positions * active,
      "MixtureOfExperts: a route of \(route.experts.count / active) positions for \(positions)")
    let weights = route.weights.reshaped(positions, active, 1)
    if positions == 1 {
      let outputs = Tensor.concatenated(route.experts.map { experts($0, rows) }, axis: 0)
      return (outputs.reshaped(1, active, rows.shape[1]) * weights).sum(axes: [1])
    }
    var entries = [[Int]](repeating: [], count: configuration.router.experts)
    for (entry, expert) in route.experts.enumerated() { entries[expert].append(entry) }
    var outputs: [Tensor] = []
    // Where in the joined outputs each (position, choice) stands.
    var places = [Int64](repeating: 0, count: route.experts.count)
    var next: Int64 = 0
    for (expert, own) in entries.enumerated() where !own.isEmpty {
      for entry in own {
        places[entry] = next
        next += 1
      }
      outputs.append(experts(expert, rows.indexSelected(axis: 0, Tensor(own.map { Int64($0 / active) }))))
    }
    let joined = Tensor.concatenated(outputs, axis: 0).indexSelected(axis: 0, Tensor(places))
    return (joined.reshaped(positions, active, rows.shape[1]) * weights).sum(axes: [1])
  }
}
