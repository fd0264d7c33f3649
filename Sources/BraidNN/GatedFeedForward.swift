import BraidTensor

/// down(activation(gate(x)) * up(x)), a gated feed-forward layer (Shazeer, "GLU variants improve transformer", 2020).
public struct GatedFeedForward: Sendable {
  /// How a checkpoint names the layer's matrices.
  public enum Names: Sendable, Hashable {
    case separate(gate: String, up: String, down: String)
    /// Gate and up are one matrix [2 hidden, channels], gate first.
    case joined(gateUp: String, down: String)

    /// gate_proj, up_proj, down_proj (Llama and most others).
    public static let projections = Names.separate(gate: "gate_proj", up: "up_proj", down: "down_proj")
    /// w1, w3, w2 (LFM2, Mixtral).
    public static let numbered = Names.separate(gate: "w1", up: "w3", down: "w2")
    /// gate_up_proj, down_proj (Zamba2).
    public static let fused = Names.joined(gateUp: "gate_up_proj", down: "down_proj")
  }

  /// The matrices in their order in the checkpoint: gate, up and down, or gate-up and down.
  public let gate: Linear
  public let up: Linear?
  public let down: Linear
  public let activation: Activation
  public let gateScale: Float
  public let outputScale: Float
  private let hidden: Int

  /// - Parameters:
  ///   - gateScale: multiplies the gate before its activation; outputScale multiplies the output (Falcon-H1).
  public init(
    _ scope: ParameterScope, channels: Int, hidden: Int, names: Names = .projections,
    activation: Activation = .silu, bias: Bool = false, gateScale: Float = 1, outputScale: Float = 1,
    init initializer: Initializer? = nil
  ) {
    func matrix(_ name: String, _ inputs: Int, _ outputs: Int) -> Linear {
      Linear(scope(name), inputs: inputs, outputs: outputs, bias: bias, init: initializer)
    }
    switch names {
    case .separate(let gate, let up, let down):
      self.gate = matrix(gate, channels, hidden)
      self.up = matrix(up, channels, hidden)
      self.down = matrix(down, hidden, channels)
    case .joined(let gateUp, let down):
      gate = matrix(gateUp, channels, 2 * hidden)
      up = nil
      self.down = matrix(down, hidden, channels)
    }
    self.activation = activation
    self.gateScale = gateScale
    self.outputScale = outputScale
    self.hidden = hidden
  }

  /// [..., channels] to the same shape; the residual is added last.
  public func callAsFunction(_ x: Tensor, residual: Tensor? = nil) -> Tensor {
    let inner: Tensor
    if let up {
      inner = gatedLinear(
        x, gate: gate.weight.factor, up: up.weight.factor, gateBias: gate.bias?.value, upBias: up.bias?.value,
        gateScale: gateScale, activation: activation)
    } else if case .matrix(let both) = gate.weight.factor {
      let bias = gate.bias?.value
      inner = gatedLinear(
        x, gate: both.rows(0..<hidden), up: both.rows(hidden..<2 * hidden),
        gateBias: bias?.sliced(axis: 0, 0..<hidden), upBias: bias?.sliced(axis: 0, hidden..<2 * hidden),
        gateScale: gateScale, activation: activation)
    } else {
      let both = gate(x).split(into: 2, axis: -1)
      inner = (gateScale == 1 ? both[0] : both[0] * gateScale).applying(activation) * both[1]
    }
    if outputScale == 1 { return down(inner, residual: residual) }
    let output = down(inner) * outputScale
    return residual.map { output + $0 } ?? output
  }
}
