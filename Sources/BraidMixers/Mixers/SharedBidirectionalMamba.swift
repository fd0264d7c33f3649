import BraidNN
import BraidTensor

/// A Mamba layer whose two directions share the projections in and out.
///
///     [x, z] = W_in h;   f = scan(x, z);   b = reverse(scan_b(reverse x, reverse z));   out = s W_out (f + b)
///
/// Each direction has its own convolution, W_x, W_dt, A and D, those of the second with "_b" in their names; scan is
/// what `Mamba` does between its projections. s is 1, or 1/2 where the configuration says so.
/// Source: Zhu et al., "Vision Mamba", 2024 (bimamba version 2; names as in its checkpoints and GSMamba's).
public struct SharedBidirectionalMamba: SequenceMixer {
  public struct Configuration: Codable, Hashable, Sendable {
    public var mamba: Mamba.Configuration
    /// Whether the sum of the directions is halved.
    public var halves: Bool

    public init(mamba: Mamba.Configuration, halves: Bool = false) {
      self.mamba = mamba
      self.halves = halves
    }
  }

  public static let name = "shared-bidirectional-mamba"
  public static let examples = [
    Configuration(mamba: .init(channels: 8, stateSize: 4)),
    Configuration(mamba: .init(channels: 6, innerChannels: 10, stateSize: 3, bias: true), halves: true),
  ]

  public let configuration: Configuration
  public var channels: Int { configuration.mamba.channels }
  let input: Linear
  let along: SelectiveBranch
  let against: SelectiveBranch
  let output: Linear

  public init(_ scope: ParameterScope, _ c: Configuration) throws {
    try c.mamba.validate(for: Self.name)
    configuration = c
    let (channels, inner, bias) = (c.mamba.channels, c.mamba.innerChannels, c.mamba.bias)
    input = Linear(scope("in_proj"), inputs: channels, outputs: 2 * inner, bias: bias)
    along = SelectiveBranch(scope, c.mamba)
    against = SelectiveBranch(scope, c.mamba, suffix: "_b")
    output = Linear(scope("out_proj"), inputs: inner, outputs: channels, bias: bias)
  }

  public func callAsFunction(_ x: Tensor) -> Tensor {
    mixed(x) { branch, x, z in
      var state = branch.initialState(batch: x.shape[0])
      return branch(x, gate: z, state: &state)
    }
  }

  public func reference(_ x: Tensor) -> Tensor { mixed(x) { $0.reference($1, gate: $2) } }

  private func mixed(_ h: Tensor, _ scan: (SelectiveBranch, Tensor, Tensor) -> Tensor) -> Tensor {
    let parts = input(h).split(into: 2, axis: -1)
    let forward = scan(along, parts[0], parts[1])
    let reversed = parts.map { $0.flipped(axis: 1) }
    let sum = forward + scan(against, reversed[0], reversed[1]).flipped(axis: 1)
    return output(configuration.halves ? sum * 0.5 : sum)
  }
}
