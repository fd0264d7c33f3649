import BraidNN
import BraidTensor

/// The layer between mixers that looks at one position alone: [..., channels] to the same shape.
///
///     gated:  y = s_o W_down (act(s_g W_gate x) ⊙ W_up x)          plain:  y = s_o W_down act(W_up x)
///
/// Source: Shazeer, "GLU variants improve Transformer", 2020; the multipliers are Falcon-H1's.
public struct FeedForward: Sendable {
  /// The pointwise function in the middle.
  public enum Function: String, Codable, Hashable, Sendable, CaseIterable {
    case silu
    case gelu
    case geluTanh
    case relu
    /// max(x, 0)^2, of plain layers alone.
    case reluSquared

    var activation: Activation {
      switch self {
      case .silu: .silu
      case .gelu: .gelu
      case .geluTanh: .geluTanh
      case .relu, .reluSquared: .relu
      }
    }
  }

  /// Under which names a checkpoint keeps the matrices.
  public enum Layout: Codable, Hashable, Sendable {
    /// Gate, up and down by themselves.
    case separate(gate: String, up: String, down: String)
    /// Gate above up in one matrix, and down.
    case fused(gateAndUp: String, down: String)
    /// No gate.
    case plain(up: String, down: String)

    public static let projections = Layout.separate(gate: "gate_proj", up: "up_proj", down: "down_proj")
    public static let numbered = Layout.separate(gate: "w1", up: "w3", down: "w2")
    public static let ungated = Layout.plain(up: "up_proj", down: "down_proj")
  }

  public struct Configuration: Codable, Hashable, Sendable {
    public var channels: Int
    /// Channels in the middle.
    public var width: Int
    public var function: Function
    public var layout: Layout
    public var bias: Bool
    /// s_g
    public var gateScale: Float
    /// s_o
    public var outputScale: Float
    /// Low-rank terms added to the fused matrix, one for each use of shared weights (Zamba2).
    public var adapters: AttentionHeads.Adapters?

    public init(
      channels: Int, width: Int, function: Function = .silu, layout: Layout = .projections,
      bias: Bool = false,
      gateScale: Float = 1, outputScale: Float = 1, adapters: AttentionHeads.Adapters? = nil
    ) {
      self.channels = channels
      self.width = width
      self.function = function
      self.layout = layout
      self.bias = bias
      self.gateScale = gateScale
      self.outputScale = outputScale
      self.adapters = adapters
    }

    func validate() throws {
      try MixerError.require(
        channels > 0 && width > 0 && adapters?.rank ?? 1 > 0, "feed-forward",
        "\(channels) channels, a width of \(width), adapters of rank \(adapters?.rank ?? 0)")
      switch layout {
      case .plain: break
      case .separate, .fused:
        try MixerError.require(function != .reluSquared, "feed-forward", "a gate by the square of a ReLU")
      }
      guard adapters != nil else { return }
      if case .fused = layout { return }
      throw MixerError.configuration(mixer: "feed-forward", reason: "adapters need gate and up in one matrix")
    }
  }

  private enum Matrices: Sendable {
    case gated(GatedFeedForward)
    case plain(up: Linear, down: Linear)
  }

  public let configuration: Configuration
  private let matrices: Matrices
  /// Into an adapter's space and out of it, by use.
  private let adapters: [Int: (Linear, Linear)]

  /// Declares the parameters.
  /// - Throws: `MixerError.configuration` for what contradicts itself.
  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try c.validate()
    configuration = c
    func gated(_ names: GatedFeedForward.Names) -> Matrices {
      .gated(
        GatedFeedForward(
          scope, channels: c.channels, hidden: c.width, names: names, activation: c.function.activation,
          bias: c.bias, gateScale: c.gateScale, outputScale: c.outputScale))
    }
    var adapters: [Int: (Linear, Linear)] = [:]
    switch c.layout {
    case .separate(let gate, let up, let down):
      matrices = gated(.separate(gate: gate, up: up, down: down))
    case .fused(let gateAndUp, let down):
      matrices = gated(.joined(gateUp: gateAndUp, down: down))
      for use in c.adapters?.uses ?? [] {
        let own = scope("\(gateAndUp)_adapter_list")(use)
        adapters[use] = (
          Linear(own(0), inputs: c.channels, outputs: c.adapters!.rank, bias: false),
          Linear(own(1), inputs: c.adapters!.rank, outputs: 2 * c.width, bias: false)
        )
      }
    case .plain(let up, let down):
      matrices = .plain(
        up: Linear(scope(up), inputs: c.channels, outputs: c.width, bias: c.bias),
        down: Linear(scope(down), inputs: c.width, outputs: c.channels, bias: c.bias))
    }
    self.adapters = adapters
  }

  /// [..., channels] to the same shape; `use` names the adapter of one of several uses of the same weights. The
  /// residual is added last.
  public func callAsFunction(_ x: Tensor, use: Int? = nil, residual: Tensor? = nil) -> Tensor {
    let c = configuration
    switch matrices {
    case .gated(let layer):
      guard let use else { return layer(x, residual: residual) }
      guard let adapter = adapters[use] else {
        preconditionFailure("FeedForward: there is no adapter \(use)")
      }
      let parts = adapter.1(adapter.0(x), residual: layer.gate(x)).split(into: 2, axis: -1)
      let gate = c.gateScale == 1 ? parts[0] : parts[0] * c.gateScale
      return finished(layer.down, gate.applying(c.function.activation) * parts[1], residual)
    case .plain(let up, let down):
      let opened = up(x, activation: c.function.activation)
      return finished(down, c.function == .reluSquared ? opened.squared() : opened, residual)
    }
  }

  private func finished(_ down: Linear, _ x: Tensor, _ residual: Tensor?) -> Tensor {
    if configuration.outputScale == 1 { return down(x, residual: residual) }
    let y = down(x) * configuration.outputScale
    return residual.map { $0 + y } ?? y
  }
}
