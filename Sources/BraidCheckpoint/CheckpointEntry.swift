import BraidTensor

/// What a checkpoint says of one tensor.
public struct CheckpointEntry: Sendable, Hashable {
  public let key: String
  public let shape: Shape
  /// The element type in the file.
  public let storedType: StoredType
  /// Bytes of all elements in the file's type.
  public let byteCount: Int

  /// The element type after loading.
  public var dtype: DType { storedType.dtype }
}
