import BraidTensor

/// What queries and keys of a linear attention pass, so that their products act as weights.
public enum KeyFeatureMap: String, Codable, Hashable, Sendable {
  case identity, relu, silu
  /// elu(x) + 1 (Katharopoulos et al., "Transformers are RNNs", 2020).
  case elu
  /// Softmax over a head's channels.
  case softmax

  /// The features of x [..., width].
  func callAsFunction(_ x: Tensor) -> Tensor {
    switch self {
    case .identity: x
    case .relu: x.relu()
    case .silu: x.silu()
    case .elu: x.elu() + 1
    case .softmax: x.softmax()
    }
  }
}
