/// The type of a tensor's elements.
public enum DType: String, Sendable, Hashable, CaseIterable, Codable {
  case float32, bfloat16, float16, int32, int64, uint8

  /// Bytes of one element.
  public var byteCount: Int {
    switch self {
    case .uint8: 1
    case .bfloat16, .float16: 2
    case .float32, .int32: 4
    case .int64: 8
    }
  }

  /// Whether the elements are real numbers that gradients can flow through.
  public var isFloatingPoint: Bool { self == .float32 || self == .bfloat16 || self == .float16 }
}
