/// Where a tensor's elements live and its operations run.
public enum Device: Hashable, Sendable, CustomStringConvertible {
  case cpu
  case cuda(Int)

  public var description: String {
    switch self {
    case .cpu: "cpu"
    case .cuda(let index): "cuda:\(index)"
    }
  }
}

/// Why a device cannot be used.
public enum DeviceError: Error, Equatable, CustomStringConvertible {
  /// The device is not there; `tried` names what was looked for.
  case unavailable(tried: [String])
  /// An operation that the device's backend does not have.
  case unsupported(operation: String, device: Device)

  public var description: String {
    switch self {
    case .unavailable(let tried):
      "the device is not available (tried: \(tried.joined(separator: ", "))); use --device cpu"
    case .unsupported(let operation, let device):
      "\(operation) is not available on \(device); use --device cpu"
    }
  }
}
