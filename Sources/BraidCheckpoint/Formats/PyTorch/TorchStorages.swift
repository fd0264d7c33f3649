/// Where the storages that a pickle names stand in the file.
protocol TorchStorages {
  /// The bytes of the storage `key`, or nil where there is none of that name.
  mutating func bytes(of key: String) throws -> (region: ByteRegion, range: Range<Int>)?
}

/// The zip format: each storage is the entry `data/<key>`.
struct TorchZipFile: TorchStorages {
  private(set) var archive: ZipArchive
  private let prefix: String
  let graph: PickleGraph

  init(_ region: ByteRegion, path: String) throws {
    archive = try ZipArchive(region, path: path)
    guard
      let pickle = archive.entries.keys.first(where: { $0.hasSuffix("/data.pkl") || $0 == "data.pkl" })
    else {
      throw CheckpointError.unrecognized(path: path, reason: "a zip archive without a data.pkl")
    }
    let prefix = String(pickle.dropLast("data.pkl".count))
    self.prefix = prefix
    if archive.entries.keys.contains(where: {
      $0 == prefix + "constants.pkl" || $0.hasPrefix(prefix + "code/")
    }) {
      throw CheckpointError.unsupported(
        path: path, reason: "a TorchScript program; save its state_dict() with torch.save instead")
    }
    if let order = try archive.content(of: prefix + "byteorder"),
      !order.region.slice(order.range).elementsEqual("little".utf8)
    {
      throw CheckpointError.unsupported(path: path, reason: "written on a big-endian machine")
    }
    guard let (source, range) = try archive.content(of: pickle) else { preconditionFailure() }
    var machine = PickleMachine(source, range: range, path: path)
    graph = try machine.run()
  }

  mutating func bytes(of key: String) throws -> (region: ByteRegion, range: Range<Int>)? {
    try archive.content(of: prefix + "data/" + key)
  }
}

/// The format before PyTorch 1.6: five pickles one after the other (magic number, protocol, system, object,
/// storage keys), then the storages, each with its element count before it.
struct TorchLegacyFile: TorchStorages {
  private let region: ByteRegion
  private var ranges: [String: Range<Int>] = [:]
  let graph: PickleGraph

  /// The magic number's pickle opcode: a ten-byte integer.
  private static let magic: [UInt8] = [
    0x8A, 0x0A, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19,
  ]

  /// Whether the content starts with the legacy format's magic number.
  static func recognizes(_ region: ByteRegion) -> Bool {
    region.hasBytes([0x80]) && (0...16).contains { region.hasBytes(magic, at: $0) }
  }

  init(_ region: ByteRegion, path: String) throws {
    self.region = region
    var position = 0
    func next() throws -> PickleGraph {
      var machine = PickleMachine(region, range: position..<region.count, path: path)
      let graph = try machine.run()
      position = machine.position
      return graph
    }
    _ = try next()
    let version = try next()
    guard version.integer(version.root) == 1001 else {
      throw CheckpointError.unsupported(path: path, reason: "an unknown version of PyTorch's legacy format")
    }
    let system = try next()
    for (key, value) in system.members(system.root) ?? [] where system.string(key) == "little_endian" {
      if case .bool(false) = system[value] {
        throw CheckpointError.unsupported(path: path, reason: "written on a big-endian machine")
      }
    }
    graph = try next()
    let sizes = try Self.elementSizes(graph, path: path)
    let keysPosition = position
    let keys = try next()
    guard let list = keys.elements(keys.root) else {
      throw CheckpointError.malformed(path: path, offset: keysPosition, reason: "no list of storages")
    }
    for reference in list {
      guard let key = keys.string(reference), let size = sizes[key], ranges[key] == nil else {
        throw CheckpointError.malformed(
          path: path, offset: keysPosition, reason: "a storage that no tensor names, or one listed twice")
      }
      guard let written = region.integer(Int64.self, at: position), written >= 0,
        let byteCount = checkedProduct(Int(written), size), byteCount <= region.count - position - 8
      else {
        throw CheckpointError.malformed(
          path: path, offset: position,
          reason: "the storage \"\(key.truncated(to: 80))\" reaches past the end of the file")
      }
      ranges[key] = position + 8..<position + 8 + byteCount
      position += 8 + byteCount
    }
  }

  /// The element size of each storage that the graph names.
  private static func elementSizes(_ graph: PickleGraph, path: String) throws -> [String: Int] {
    var sizes: [String: Int] = [:]
    for node in graph.nodes {
      guard case .storage(let description) = node else { continue }
      let storage = try TorchTensorReader.storage(graph, description, path: path)
      let size = storage.type?.byteCount ?? 1
      guard sizes.updateValue(size, forKey: storage.key) ?? size == size else {
        throw CheckpointError.malformed(
          path: path, offset: nil, reason: "the storage \"\(storage.key.truncated(to: 80))\" has two types")
      }
    }
    return sizes
  }

  mutating func bytes(of key: String) throws -> (region: ByteRegion, range: Range<Int>)? {
    ranges[key].map { (region, $0) }
  }
}
