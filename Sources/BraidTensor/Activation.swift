import CBraidKernels

/// A pointwise function that a product or a convolution can end with.
public enum Activation: Sendable, Hashable {
  case none
  case relu
  /// x where x > 0, slope * x elsewhere.
  case leakyReLU(slope: Float)
  /// x/2 (1 + erf(x / sqrt 2))
  case gelu
  /// GELU by its tanh formula (Hendrycks and Gimpel, 2016).
  case geluTanh
  case silu
  case sigmoid
  case tanh

  var kernel: braid_activation {
    switch self {
    case .none: BRAID_ACTIVATION_NONE
    case .relu: BRAID_ACTIVATION_RELU
    case .leakyReLU: BRAID_ACTIVATION_LEAKY_RELU
    case .gelu: BRAID_ACTIVATION_GELU
    case .geluTanh: BRAID_ACTIVATION_GELU_TANH
    case .silu: BRAID_ACTIVATION_SILU
    case .sigmoid: BRAID_ACTIVATION_SIGMOID
    case .tanh: BRAID_ACTIVATION_TANH
    }
  }

  var slope: Float {
    if case .leakyReLU(let slope) = self { slope } else { 0 }
  }
}
