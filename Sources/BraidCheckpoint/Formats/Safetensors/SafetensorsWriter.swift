import BraidFiles
import BraidTensor
import OrderedCollections

/// Writes tensors as one safetensors file.
public enum SafetensorsWriter {
  /// Writes the tensors atomically: the file is complete or not there, and equal input gives equal bytes.
  ///
  /// Tensors stand in the given order, wide element types first, so that each is aligned; the data begins at a
  /// multiple of 64 bytes.
  ///
  /// - Parameter storedAs: the type to store a tensor in, where it is to differ: float16, bfloat16 or float32 for
  ///   floating-point tensors, `.bool` for uint8 ones, a wider integer for integers.
  /// - Throws: `CheckpointError.unwritable`.
  public static func write(
    _ tensors: some Sequence<(key: String, value: Tensor)>, metadata: OrderedDictionary<String, String> = [:],
    to path: String, storedAs: (String, Tensor) -> StoredType? = { _, _ in nil }
  ) throws {
    var items: [(name: String, tensor: Tensor, type: StoredType)] = []
    var names = Set<String>()
    for (name, tensor) in tensors {
      guard name != "__metadata__", names.insert(name).inserted else {
        throw CheckpointError.unwritable(
          path: path, reason: "the name \"\(name.truncated(to: 200).escapedForTerminal)\" is taken")
      }
      let type = storedAs(name, tensor) ?? StoredType(tensor.dtype)
      guard canStore(tensor.dtype, as: type) else {
        throw CheckpointError.unwritable(
          path: path,
          reason:
            "\"\(name.escapedForTerminal)\" is \(tensor.dtype.rawValue) and cannot be stored as \(type.rawValue)"
        )
      }
      items.append((name, tensor, type))
    }
    // `sort` is stable in fact but not by promise: the position decides between equals.
    let order = items.indices.sorted {
      (-items[$0].type.byteCount, $0) < (-items[$1].type.byteCount, $1)
    }
    let file = try AtomicFile(path) { CheckpointError($0) }
    let text = header(order.map { items[$0] }, metadata)
    try withUnsafeBytes(of: UInt64(text.utf8.count).littleEndian) { try file.write($0) }
    try file.write(text)
    for index in order {
      let (_, tensor, type) = items[index]
      let converted = type == .bool ? flags(tensor) : tensor.detached.cast(to: type.dtype)
      try converted.withBytes { try file.write($0) }
    }
    try file.commit()
  }

  /// The tensor with every element that is not zero as 1.
  private static func flags(_ tensor: Tensor) -> Tensor {
    Tensor(tensor.elements(as: UInt8.self).map { $0 == 0 ? UInt8(0) : 1 }, shape: tensor.shape)
  }

  private static func canStore(_ dtype: DType, as type: StoredType) -> Bool {
    switch type {
    case .float32, .float16, .bfloat16: dtype.isFloatingPoint
    case .int64: !dtype.isFloatingPoint
    case .int32: dtype == .int32 || dtype == .uint8
    case .uint8, .bool: dtype == .uint8
    case .float64, .int16, .int8: false
    }
  }

  private static func header(
    _ items: [(name: String, tensor: Tensor, type: StoredType)], _ metadata: OrderedDictionary<String, String>
  ) -> String {
    var members: [JSONValue.Member] = []
    if !metadata.isEmpty {
      members.append(
        .init(
          name: "__metadata__", value: .object(metadata.map { .init(name: $0.key, value: .string($0.value)) })
        ))
    }
    var offset = 0
    for (name, tensor, type) in items {
      let end = offset + tensor.elementCount * type.byteCount
      members.append(
        .init(
          name: name,
          value: .object([
            .init(name: "dtype", value: .string(type.rawValue)),
            .init(name: "shape", value: .array(tensor.shape.map { .integer($0) })),
            .init(name: "data_offsets", value: .array([.integer(offset), .integer(end)])),
          ])))
      offset = end
    }
    var text = JSONValue.object(members).text
    let length = 8 + text.utf8.count
    text += String(repeating: " ", count: (64 - length % 64) % 64)
    return text
  }
}
