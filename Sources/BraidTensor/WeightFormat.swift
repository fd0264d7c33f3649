import CBraidKernels

/// How the numbers of a weight matrix are held in memory.
public enum WeightFormat: String, Sendable, Hashable, CaseIterable, Codable {
  /// 32 bits: exact.
  case f32
  /// bfloat16: 8 significant bits, a relative error of at most 2^-9.
  case bf16
  /// 8 bits with one scale a row, max |w| / 127.
  case int8
  /// 4 bits with one 16-bit scale for each 32 numbers, as llama.cpp defines Q4_0.
  case q4_0

  /// Bits that one number takes, its share of the scales included, in rows that are long.
  public var bitsPerWeight: Double {
    switch self {
    case .f32: 32
    case .bf16: 16
    case .int8: 8
    case .q4_0: 4.5
    }
  }

  var kernel: braid_weight_format {
    switch self {
    case .f32: BRAID_WEIGHT_F32
    case .bf16: BRAID_WEIGHT_BF16
    case .int8: BRAID_WEIGHT_INT8
    case .q4_0: BRAID_WEIGHT_Q4_0
    }
  }

  /// The format that holds a tensor's numbers as they are.
  init?(_ dtype: DType) {
    switch dtype {
    case .float32: self = .f32
    case .bfloat16: self = .bf16
    default: return nil
    }
  }
}
