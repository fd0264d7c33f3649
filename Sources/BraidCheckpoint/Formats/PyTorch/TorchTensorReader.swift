import BraidTensor

/// Turns the description of a tensor in a pickle into its place in the file, with every bound checked.
struct TorchTensorReader {
  /// A storage as a pickle's persistent identifier describes it.
  struct StorageDescription {
    var key: String
    /// nil for an untyped storage, counted in bytes.
    var type: StoredType?
    var elementCount: Int
    /// Elements of the storage `key` before the first one of this view.
    var firstElement: Int
  }

  private let graph: PickleGraph
  private let path: String
  private var storages: any TorchStorages
  private var found: [String: (region: ByteRegion, range: Range<Int>)] = [:]

  init(graph: PickleGraph, storages: any TorchStorages, path: String) {
    self.graph = graph
    self.storages = storages
    self.path = path
  }

  /// Whether the node describes a tensor.
  static func isTensor(_ node: PickleGraph.Node) -> Bool {
    guard case .call(let name, _) = node else { return false }
    switch name {
    case .rebuildTensor, .rebuildTensorV3, .rebuildParameter: return true
    default: return false
    }
  }

  /// The storage that the tuple of a persistent identifier describes:
  /// ('storage', type, key, device, element count[, view]).
  static func storage(
    _ graph: PickleGraph, _ description: PickleGraph.Reference, path: String
  ) throws -> StorageDescription {
    guard let parts = graph.elements(description).map(Array.init), parts.count == 5 || parts.count == 6,
      graph.string(parts[0]) == "storage", case .name(let name) = graph[parts[1]],
      let key = graph.string(parts[2]) ?? graph.integer(parts[2]).map(String.init),
      let count = graph.integer(parts[4]), count >= 0
    else {
      throw CheckpointError.malformed(path: path, offset: nil, reason: "a storage that is described wrongly")
    }
    let type: StoredType?
    switch name {
    case .storage(let element): type = element
    case .untypedStorage: type = nil
    default: throw CheckpointError.malformed(path: path, offset: nil, reason: "a storage of no known type")
    }
    var result = StorageDescription(key: key, type: type, elementCount: count, firstElement: 0)
    if parts.count == 6, let view = graph.elements(parts[5]).map(Array.init) {
      guard view.count == 3, let first = graph.integer(view[1]), let size = graph.integer(view[2]),
        first >= 0,
        size >= 0, first <= count, size <= count - first
      else {
        throw CheckpointError.malformed(
          path: path, offset: nil, reason: "a view past the storage \"\(key.truncated(to: 80))\"")
      }
      result.firstElement = first
    }
    return result
  }

  /// The tensor that a node describes; `key` names it in errors.
  mutating func tensor(_ reference: PickleGraph.Reference, key: String) throws -> StoredTensor {
    func failure(_ reason: String) -> CheckpointError {
      .malformed(path: path, offset: nil, reason: "\"\(key.truncated(to: 200))\": \(reason)")
    }
    var reference = reference
    for _ in 0..<4 {
      guard case .call(let name, let argumentReference) = graph[reference],
        let arguments = graph.elements(argumentReference).map(Array.init)
      else { break }
      switch name {
      case .rebuildParameter:
        guard let data = arguments.first else { throw failure("a parameter without data") }
        reference = data
      case .rebuildTensor, .rebuildTensorV3:
        guard arguments.count >= 4, case .storage(let description) = graph[arguments[0]],
          let offset = graph.integer(arguments[1]), let shape = integers(arguments[2]),
          let strides = integers(arguments[3])
        else { throw failure("a tensor that is described wrongly") }
        let storage = try Self.storage(graph, description, path: path)
        var type = storage.type
        if case .rebuildTensorV3 = name, arguments.count >= 7 {
          guard case .name(.elementType(let element)) = graph[arguments[6]] else {
            throw CheckpointError.unsupported(
              path: path, reason: "the element type of \"\(key.truncated(to: 200))\"")
          }
          type = element
        }
        guard let type else { throw failure("a tensor over a storage without a type") }
        let (region, range) = try bytes(of: storage, key: key)
        let first = checkedProduct(storage.firstElement, storage.type?.byteCount ?? 1) ?? range.count
        let view = range.lowerBound + min(first, range.count)..<range.upperBound
        switch StoredTensor.make(
          region: region, bytes: view, elementOffset: offset, storedType: type, dimensions: shape,
          strides: strides)
        {
        case .success(let tensor): return tensor
        case .failure(let reason): throw failure(reason.text)
        }
      default:
        throw failure("not a tensor")
      }
    }
    throw failure("not a tensor")
  }

  private func integers(_ reference: PickleGraph.Reference) -> [Int]? {
    var reference = reference
    if case .call(.size, let arguments) = graph[reference] {
      guard let inner = graph.elements(arguments), inner.count == 1 else { return nil }
      reference = inner.first!
    }
    guard let elements = graph.elements(reference), elements.count <= StoredTensor.maximumRank else {
      return nil
    }
    var result: [Int] = []
    for element in elements {
      guard let value = graph.integer(element) else { return nil }
      result.append(value)
    }
    return result
  }

  /// The bytes that the storage's own description promises: fewer in the file are an error.
  private mutating func bytes(
    of storage: StorageDescription, key: String
  ) throws -> (region: ByteRegion, range: Range<Int>) {
    let known = found[storage.key]
    guard let (region, range) = try known ?? storages.bytes(of: storage.key) else {
      throw CheckpointError.malformed(
        path: path, offset: nil,
        reason:
          "\"\(key.truncated(to: 200))\": its storage \"\(storage.key.truncated(to: 80))\" is not in the file"
      )
    }
    if known == nil { found[storage.key] = (region, range) }
    guard let promised = checkedProduct(storage.elementCount, storage.type?.byteCount ?? 1),
      promised <= range.count
    else {
      throw CheckpointError.malformed(
        path: path, offset: range.lowerBound,
        reason:
          "\"\(key.truncated(to: 200))\": its storage promises \(storage.elementCount) elements and has "
          + "\(range.count) bytes")
    }
    return (region, range.lowerBound..<range.lowerBound + promised)
  }
}
