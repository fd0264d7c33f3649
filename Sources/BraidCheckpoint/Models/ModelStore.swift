import BraidFiles
import BraidTensor

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// The models that can be named: those in the folder BRAID_MODELS, those in the user's data folder
/// ($XDG_DATA_HOME or ~/.local/share, then braid/models), and those within the binary. Of equal names the
/// first counts.
///
/// In a folder a model is one file, `NAME.safetensors` or `NAME.pth`, beside `NAME.sha256` in the form that
/// `sha256sum --check` reads.
public struct ModelStore: Sendable {
  /// The folders, in the order in which they are searched; they need not exist.
  public let folders: [String]
  public let embedded: [EmbeddedModel]

  /// Where a model stands.
  public enum Place: Sendable {
    case file(String)
    case embedded(EmbeddedModel)

    /// The path, or a text that says that the model is within the binary.
    public var path: String {
      switch self {
      case .file(let path): path
      case .embedded(let model): "(within the binary) \(model.name)"
      }
    }
  }

  /// One model that can be named.
  public struct Item: Sendable {
    public let name: String
    public let place: Place
    public let byteCount: Int
  }

  /// What `verify` found to be in order.
  public struct Verification: Sendable {
    public let name: String
    public let path: String
    public let sha256: String
    /// Whether a digest was recorded when the model was added (and agrees).
    public let isRecorded: Bool
    public let tensorCount: Int
    public let elementCount: Int
  }

  private static let extensions = ["safetensors", "pth"]

  public init(
    embedded: [EmbeddedModel] = [], environment: [String: String] = ProcessInfo.processInfo.environment
  ) {
    func value(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
    var folders: [String] = []
    if let folder = value("BRAID_MODELS") { folders.append(folder) }
    // A relative XDG_DATA_HOME is to be ignored (XDG Base Directory Specification).
    let data =
      value("XDG_DATA_HOME").flatMap { $0.hasPrefix("/") ? $0 : nil }
      ?? value("HOME").map { $0 + "/.local/share" }
    if let data { folders.append(data + "/braid/models") }
    self.folders = folders
    self.embedded = embedded
  }

  /// All models, sorted by name.
  public func list() -> [Item] {
    var items: [String: Item] = [:]
    for folder in folders {
      for suffix in Self.extensions {
        for file in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [] {
          guard file.hasSuffix("." + suffix) else { continue }
          let name = String(file.dropLast(suffix.count + 1))
          guard Self.isValid(name), items[name] == nil else { continue }
          let path = folder + "/" + file
          let size = (try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? Int
          items[name] = Item(name: name, place: .file(path), byteCount: size ?? 0)
        }
      }
    }
    for model in embedded where items[model.name] == nil {
      items[model.name] = Item(name: model.name, place: .embedded(model), byteCount: model.bytes.count)
    }
    return items.values.sorted { $0.name < $1.name }
  }

  /// Where the model `name` stands, or nil where there is none.
  public func place(_ name: String) -> Place? {
    guard Self.isValid(name) else { return nil }
    for folder in folders {
      for suffix in Self.extensions {
        let path = "\(folder)/\(name).\(suffix)"
        if FileManager.default.fileExists(atPath: path) { return .file(path) }
      }
    }
    return embedded.first { $0.name == name }.map { .embedded($0) }
  }

  /// Where the model that a user means stands: a model's name, else a file or folder.
  ///
  /// - Throws: `ModelStoreError.unknown` with the nearest name.
  public func locate(_ nameOrPath: String) throws -> Place {
    if let place = place(nameOrPath) { return place }
    if FileManager.default.fileExists(atPath: nameOrPath) { return .file(nameOrPath) }
    let names = list().map(\.name)
    throw ModelStoreError.unknown(
      name: nameOrPath, nearest: EditDistance.nearest(to: nameOrPath, in: names), available: names)
  }

  /// The checkpoint of the model, file or folder that a user means.
  public func open(
    _ nameOrPath: String, options: CheckpointOptions = CheckpointOptions()
  ) throws -> Checkpoint {
    switch try locate(nameOrPath) {
    case .file(let path): try Checkpoint.open(path, options: options)
    case .embedded(let model):
      try Checkpoint.open(staticBytes: model.bytes, name: model.name, options: options)
    }
  }

  /// Copies a checkpoint file into the first folder under a name; nothing is converted.
  ///
  /// The file must open and hold finite numbers. The copy appears only when it is complete.
  /// - Returns: the copy's path.
  @discardableResult
  public func add(_ file: String, name: String, overwrite: Bool = false) throws -> String {
    guard Self.isValid(name) else { throw ModelStoreError.invalidName(name) }
    guard let folder = folders.first else { throw ModelStoreError.noFolder }
    let source = try CheckpointFolder.checkpoint(in: file) ?? file
    let region = try ByteRegion.file(source)
    if try ShardIndex(region, path: source) != nil {
      throw CheckpointError.unsupported(
        path: source,
        reason: "a model in several files cannot be added under a name; give its folder as --model")
    }
    let checkpoint = try Checkpoint(region, path: source, options: CheckpointOptions(weightsKey: nil))
    try checkpoint.requireFiniteNumbers()
    let suffix = checkpoint.format == .safetensors ? "safetensors" : "pth"
    let others = Self.extensions.map { "\(folder)/\(name).\($0)" }
    if !overwrite, let path = others.first(where: FileManager.default.fileExists(atPath:)) {
      throw ModelStoreError.exists(name: name, path: path)
    }
    do {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    } catch {
      throw CheckpointError.unwritable(path: folder, reason: "the folder cannot be made")
    }
    let path = "\(folder)/\(name).\(suffix)"
    let copy = try AtomicFile(path) { CheckpointError($0) }
    try copy.write(region.bytes)
    try copy.commit()
    let digest = try AtomicFile("\(folder)/\(name).sha256") { CheckpointError($0) }
    try digest.write("\(SHA256.hexDigest(region.bytes))  \(name).\(suffix)\n")
    try digest.commit()
    for other in others where other != path { try? FileManager.default.removeItem(atPath: other) }
    return path
  }

  /// Checks a model: its digest is the recorded one, it opens, all its numbers are finite.
  ///
  /// - Throws: `ModelStoreError.damaged`, or the `CheckpointError` of opening it.
  public func verify(_ name: String) throws -> Verification {
    let place = try locate(name)
    let region: ByteRegion
    var recorded: String?
    switch place {
    case .file(let path):
      if let index = try CheckpointFolder.checkpoint(in: path) { return try verify(index) }
      region = try ByteRegion.file(path)
      let stem = Self.extensions.first { path.hasSuffix("." + $0) }.map { path.dropLast($0.count + 1) }
      if let stem, let text = FileManager.default.contents(atPath: stem + ".sha256") {
        recorded = String(decoding: text.prefix(64), as: UTF8.self)
      }
    case .embedded(let model):
      guard let base = model.bytes.baseAddress else {
        throw ModelStoreError.damaged(name: name, path: place.path, reason: "no bytes")
      }
      region = .foreign(base, count: model.bytes.count)
    }
    let digest = SHA256.hexDigest(region.bytes)
    if let recorded, recorded != digest {
      throw ModelStoreError.damaged(
        name: name, path: place.path, reason: "its SHA-256 is \(digest), recorded was \(recorded)")
    }
    let checkpoint: Checkpoint
    if case .file(let path) = place, try ShardIndex(region, path: path) != nil {
      checkpoint = try Checkpoint.open(path)
    } else {
      checkpoint = try Checkpoint(region, path: place.path, options: CheckpointOptions())
    }
    try checkpoint.requireFiniteNumbers()
    return Verification(
      name: name, path: place.path, sha256: digest, isRecorded: recorded != nil,
      tensorCount: checkpoint.keys.count,
      elementCount: checkpoint.entries.reduce(0) { $0 + $1.shape.elementCount })
  }

  /// Whether a model may have this name: it becomes a file's name.
  public static func isValid(_ name: String) -> Bool {
    guard (1...100).contains(name.utf8.count), let first = name.utf8.first, first != UInt8(ascii: ".") else {
      return false
    }
    return first != UInt8(ascii: "-")
      && name.utf8.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
          UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
          true
        default: false
        }
      }
  }
}

extension Checkpoint {
  /// Checks that all floating-point numbers are finite.
  ///
  /// - Throws: `CheckpointError.malformed` that names the first tensor with one that is not.
  public func requireFiniteNumbers() throws {
    for (key, stored) in tensors where stored.storedType.dtype.isFloatingPoint {
      let tensor = stored.tensor
      let wrong = tensor.read { elements in
        (0..<stored.elementCount).first { !elements[$0].isFinite }
      }
      if let wrong {
        throw CheckpointError.malformed(
          path: path, offset: nil,
          reason: "\"\(key.truncated(to: 200))\" holds a number that is not finite (element \(wrong))")
      }
    }
  }
}
