import BraidMixers
import BraidNN
import BraidTensor
import Foundation

/// A causal mixer of a language model: its kind and configuration.
public enum MixerDescription: Codable, Hashable, Sendable {
  case attention(GroupedQueryAttention.Configuration)
  case latentAttention(MultiHeadLatentAttention.Configuration)
  case shortConvolution(GatedShortConvolution.Configuration)
  case mamba(Mamba.Configuration)
  case mamba2(Mamba2.Configuration)
  /// Files may hold tables of its decays for so many positions.
  case lightningAttention(LightningAttention.Configuration, tableLength: Int)
  case gatedDelta(GatedDeltaNet.Configuration)
  case kimiDelta(KimiDeltaAttention.Configuration)

  /// The mixer, its parameters declared in the scope.
  /// - Throws: `MixerError.configuration` where the configuration contradicts itself.
  func make(_ scope: ParameterScope) throws -> any CausalMixer {
    switch self {
    case .attention(let c): return try GroupedQueryAttention(scope, c)
    case .latentAttention(let c): return try MultiHeadLatentAttention(scope, c)
    case .shortConvolution(let c): return try GatedShortConvolution(scope, c)
    case .mamba(let c): return try Mamba(scope, c)
    case .mamba2(let c): return try Mamba2(scope, c)
    case .lightningAttention(let c, let length):
      c.declareTables(scope, length: length)
      return try LightningAttention(scope, c)
    case .gatedDelta(let c): return try GatedDeltaNet(scope, c)
    case .kimiDelta(let c): return try KimiDeltaAttention(scope, c)
    }
  }
}

extension LightningAttention.Configuration {
  /// The tables that MiniMax's published files hold: slopes, and decays within blocks of `length` positions.
  fileprivate func declareTables(_ scope: ParameterScope, length: Int) {
    let slopes = logDecays.map { -Double($0) }
    func table(_ name: String, _ shape: Shape, _ exponent: @escaping @Sendable (Int, Int) -> Double?) {
      scope.derived(name) {
        let inner = shape.elementCount / slopes.count
        return Tensor.build(shape) { out in
          for (head, slope) in slopes.enumerated() {
            for i in 0..<inner {
              let power = exponent(inner == length ? i : i / length, i % length)
              out[head * inner + i] = power.map { Float(exp(-slope * $0)) } ?? 0
            }
          }
        }
      }
    }
    let rates = slopes.map { Float($0) }
    scope.derived("slope_rate") { Tensor(rates, shape: [rates.count, 1, 1]) }
    table("query_decay", [slopes.count, length, 1]) { i, _ in Double(i + 1) }
    table("key_decay", [slopes.count, length, 1]) { i, _ in Double(length - 1 - i) }
    table("diagonal_decay", [1, slopes.count, length, length]) { i, j in i >= j ? Double(i - j) : nil }
  }
}
