@_exported import BraidTensor
import OrderedCollections

/// Named tensors in a file or folder, opened by content: safetensors, PyTorch's zip and legacy formats, an
/// index of shards, a Hugging Face folder.
///
/// Files are memory-mapped: opening reads the names, and a tensor's elements are used in place where type and
/// alignment allow. Nothing that a file contains is executed, and every bound is checked on opening. As with any
/// mapped file, nobody may shorten it while its tensors are in use; replacing it by renaming is fine.
public struct Checkpoint: Sendable {
  /// The file or folder, as it was given.
  public let path: String
  public let format: CheckpointFormat
  /// Texts that the file keeps beside the tensors: safetensors' `__metadata__`, or a pickle's plain values.
  public let metadata: OrderedDictionary<String, String>
  /// Where in the file the tensors were taken from; empty for the outermost dictionary.
  public let weightsKey: String
  /// The sets of weights in the file.
  public let availableWeightsKeys: [String]
  let tensors: OrderedDictionary<String, StoredTensor>

  /// The sets of weights that are taken without being named, the first one present.
  public static var preferredWeightsKeys: [String] { WeightSelection.preferredKeys }

  /// The checkpoint at `path`.
  ///
  /// - Throws: `CheckpointError`, which says what, where and what to do.
  public static func open(_ path: String, options: CheckpointOptions = CheckpointOptions()) throws
    -> Checkpoint
  {
    try open(path, options: options, isShard: false)
  }

  /// The checkpoint in `bytes`, which stay valid and unchanged for good (a model within the binary, say).
  public static func open(
    staticBytes bytes: UnsafeRawBufferPointer, name: String, options: CheckpointOptions = CheckpointOptions()
  ) throws -> Checkpoint {
    guard let base = bytes.baseAddress, bytes.count > 0 else {
      throw CheckpointError.unrecognized(path: name, reason: "no bytes")
    }
    return try Checkpoint(.foreign(base, count: bytes.count), path: name, options: options)
  }

  static func open(_ path: String, options: CheckpointOptions, isShard: Bool) throws -> Checkpoint {
    if !isShard, let file = try CheckpointFolder.checkpoint(in: path) {
      return try open(file, options: options, isShard: false)
    }
    let region = try ByteRegion.file(path)
    if !isShard, let index = try ShardIndex(region, path: path) {
      return try Checkpoint(index, path: path, options: options)
    }
    return try Checkpoint(region, path: path, options: options)
  }

  /// The keys in the file's order.
  public var keys: [String] { Array(tensors.keys) }

  /// What the file says of each tensor, in its order.
  public var entries: [CheckpointEntry] { tensors.elements.map { Self.entry($0.key, $0.value) } }

  /// What the file says of one tensor, or nil where it has none of that name.
  public func entry(_ key: String) -> CheckpointEntry? { tensors[key].map { Self.entry(key, $0) } }

  private static func entry(_ key: String, _ tensor: StoredTensor) -> CheckpointEntry {
    CheckpointEntry(
      key: key, shape: tensor.shape, storedType: tensor.storedType,
      byteCount: tensor.elementCount * tensor.storedType.byteCount)
  }

  /// The tensor `key`: over the mapped file where type and alignment allow, a copy otherwise. F64 becomes
  /// float32, BOOL uint8, I16 and I8 int32; other types stay.
  public func tensor(_ key: String) throws -> Tensor {
    guard let stored = tensors[key] else {
      throw CheckpointError.missingKey(path: path, key: key, nearest: EditDistance.nearest(to: key, in: keys))
    }
    return stored.tensor
  }

  /// Calls `body` with the tensor `key`, which it neither changes nor keeps; its pages of a mapped file are given
  /// back afterwards.
  func withPassingTensor(_ key: String, _ body: (Tensor) throws -> Void) throws {
    guard let stored = tensors[key] else {
      throw CheckpointError.missingKey(path: path, key: key, nearest: EditDistance.nearest(to: key, in: keys))
    }
    try body(stored.passingTensor)
    stored.dropPages()
  }

  // MARK: Making

  init(_ region: ByteRegion, path: String, options: CheckpointOptions) throws {
    self.path = path
    var found: OrderedDictionary<String, StoredTensor>
    let isZip = region.hasBytes([0x50, 0x4B, 0x03, 0x04])
    if isZip || TorchLegacyFile.recognizes(region) {
      let file = try TorchFile(region, isZip: isZip, weightsKey: options.weightsKey, path: path)
      format = isZip ? .torchZip : .torchLegacy
      metadata = file.notes
      weightsKey = file.weightsKey
      availableWeightsKeys = file.availableWeightsKeys
      found = file.tensors
    } else if SafetensorsFile.recognizes(region) {
      let file = try SafetensorsFile(region, path: path)
      format = .safetensors
      metadata = file.metadata
      availableWeightsKeys = []
      weightsKey = options.weightsKey ?? ""
      found = try Self.select(options.weightsKey, file.tensors, path: path)
    } else {
      throw CheckpointError.unrecognized(path: path, reason: ContentHint.describe(region))
    }
    Self.stripCommonPrefixes(options.commonPrefixes, &found)
    tensors = found
  }

  init(_ index: ShardIndex, path: String, options: CheckpointOptions) throws {
    self.path = path
    format = .sharded
    metadata = index.metadata
    availableWeightsKeys = []
    weightsKey = options.weightsKey ?? ""
    var found = try Self.select(options.weightsKey, index.tensors(), path: path)
    Self.stripCommonPrefixes(options.commonPrefixes, &found)
    tensors = found
  }

  /// In flat names a set of weights is what has its name before the first dot.
  private static func select(
    _ weightsKey: String?, _ tensors: OrderedDictionary<String, StoredTensor>, path: String
  ) throws -> OrderedDictionary<String, StoredTensor> {
    guard let weightsKey, weightsKey != "." else { return tensors }
    let prefix = weightsKey + "."
    let chosen = tensors.elements.filter { $0.key.hasPrefix(prefix) }
    guard !chosen.isEmpty else {
      let prefixes = OrderedSet(tensors.keys.compactMap { $0.split(separator: ".").first.map(String.init) })
      throw CheckpointError.weightsKey(path: path, named: weightsKey, available: Array(prefixes))
    }
    return OrderedDictionary(
      chosen.map { (String($0.key.dropFirst(prefix.count)), $0.value) },
      uniquingKeysWith: { first, _ in first })
  }

  private static func stripCommonPrefixes(
    _ prefixes: [String], _ tensors: inout OrderedDictionary<String, StoredTensor>
  ) {
    for prefix in prefixes where !tensors.isEmpty {
      guard tensors.keys.allSatisfy({ $0.hasPrefix(prefix) && $0.utf8.count > prefix.utf8.count }) else {
        continue
      }
      tensors = OrderedDictionary(
        tensors.elements.map { (String($0.key.dropFirst(prefix.count)), $0.value) },
        uniquingKeysWith: { first, _ in first })
    }
  }
}
