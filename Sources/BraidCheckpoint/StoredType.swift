import BraidTensor

/// The element type as a file stores it; the raw value is its name in safetensors.
public enum StoredType: String, Sendable, Hashable, CaseIterable, Codable {
  case float64 = "F64"
  case float32 = "F32"
  case float16 = "F16"
  case bfloat16 = "BF16"
  case int64 = "I64"
  case int32 = "I32"
  case int16 = "I16"
  case int8 = "I8"
  case uint8 = "U8"
  case bool = "BOOL"

  /// The stored type that holds a tensor's elements as they are.
  public init(_ dtype: DType) {
    switch dtype {
    case .float32: self = .float32
    case .bfloat16: self = .bfloat16
    case .float16: self = .float16
    case .int32: self = .int32
    case .int64: self = .int64
    case .uint8: self = .uint8
    }
  }

  /// Bytes of one stored element.
  public var byteCount: Int {
    switch self {
    case .float64, .int64: 8
    case .float32, .int32: 4
    case .float16, .bfloat16, .int16: 2
    case .int8, .uint8, .bool: 1
    }
  }

  /// The element type after loading: F64 becomes float32, I16 and I8 become int32, BOOL becomes uint8.
  public var dtype: DType {
    switch self {
    case .float64, .float32: .float32
    case .float16: .float16
    case .bfloat16: .bfloat16
    case .int64: .int64
    case .int32, .int16, .int8: .int32
    case .uint8, .bool: .uint8
    }
  }

  /// Whether the bytes are used as they stand.
  var isLoadedVerbatim: Bool {
    switch self {
    case .float64, .int16, .int8, .bool: false
    default: true
    }
  }
}
