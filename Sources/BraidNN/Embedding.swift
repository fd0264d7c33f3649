import BraidTensor

/// A table of vectors [count, channels] that ids name; the same table may score vectors against all ids.
public struct Embedding: Sendable {
  public let weight: Parameter

  public init(_ scope: ParameterScope, count: Int, channels: Int, init initializer: Initializer = .normal(1))
  {
    weight = scope.factor("weight", [count, channels], init: initializer)
  }

  /// The vectors of ids [...] (int32 or int64, within the table): [..., channels].
  public func callAsFunction(_ ids: Tensor) -> Tensor { weight.factor.rows(ids) }

  /// The scores of x [..., channels] against every id: x Eᵀ, [..., count] (a tied output layer).
  public func logits(_ x: Tensor) -> Tensor { linear(x, weight) }
}
