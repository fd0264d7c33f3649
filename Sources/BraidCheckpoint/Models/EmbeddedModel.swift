/// A model within the binary.
public struct EmbeddedModel: @unchecked Sendable {
  public let name: String
  /// A safetensors file that stays valid for good.
  public let bytes: UnsafeRawBufferPointer

  public init(name: String, bytes: UnsafeRawBufferPointer) {
    self.name = name
    self.bytes = bytes
  }
}
