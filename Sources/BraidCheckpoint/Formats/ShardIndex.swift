import OrderedCollections

/// An index of shards (`model.safetensors.index.json`): which file of the folder holds which tensor.
struct ShardIndex {
  private let path: String
  private var files: OrderedDictionary<String, String> = [:]
  var metadata: OrderedDictionary<String, String> = [:]

  private static let maximumByteCount = 100_000_000

  /// The index in `region`, or nil where the content is no JSON object.
  init?(_ region: ByteRegion, path: String) throws {
    let start = region.bytes.prefix(64).first { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }
    guard start == UInt8(ascii: "{") else { return nil }
    // A safetensors header of 123 bytes has the same first byte; its JSON starts at byte 8.
    if SafetensorsFile.recognizes(region) { return nil }
    guard region.count <= Self.maximumByteCount else {
      throw CheckpointError.limitExceeded(path: path, reason: "an index of \(region.count) bytes")
    }
    self.path = path
    var hasMap = false
    var reader = JSONReader(region.bytes, path: path)
    try reader.object { reader, name in
      switch name {
      case "weight_map":
        hasMap = true
        try reader.object { reader, key in
          let file = try reader.string()
          guard Self.staysInFolder(file) else {
            throw reader.failure("the shard \"\(file.truncated(to: 200))\" is outside the folder")
          }
          files[key] = file
        }
      case "metadata":
        guard case .object(let members) = try reader.value() else { return }
        for member in members { metadata[member.name] = member.value.stringValue ?? member.value.text }
      default:
        try reader.skip()
      }
    }
    try reader.end()
    guard hasMap else {
      throw CheckpointError.unrecognized(path: path, reason: "a JSON file without a weight_map")
    }
  }

  private static func staysInFolder(_ file: String) -> Bool {
    guard !file.isEmpty, !file.hasPrefix("/"), !file.utf8.contains(0), !file.contains("\\") else {
      return false
    }
    return file.split(separator: "/", omittingEmptySubsequences: false).allSatisfy {
      !$0.isEmpty && $0 != "." && $0 != ".."
    }
  }

  /// The tensors of all shards: in the index's order, then those that it does not list.
  func tensors() throws -> OrderedDictionary<String, StoredTensor> {
    let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
    var shards: OrderedDictionary<String, Checkpoint> = [:]
    for file in files.values where shards[file] == nil {
      shards[file] = try Checkpoint.open(
        folder + file, options: CheckpointOptions(commonPrefixes: []), isShard: true)
    }
    var result: OrderedDictionary<String, StoredTensor> = [:]
    result.reserveCapacity(files.count)
    for (key, file) in files {
      guard let tensor = shards[file]?.tensors[key] else {
        throw CheckpointError.malformed(
          path: path, offset: nil,
          reason: "\"\(key.truncated(to: 200))\" is not in \"\(file.truncated(to: 200))\" as the index says")
      }
      result[key] = tensor
    }
    for shard in shards.values {
      for (key, tensor) in shard.tensors where result[key] == nil { result[key] = tensor }
    }
    return result
  }
}
