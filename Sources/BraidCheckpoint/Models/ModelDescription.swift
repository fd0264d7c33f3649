import BraidNN
import BraidTensor
import OrderedCollections

/// What a saved model says of itself: how to build it, and its model card.
///
/// A saved model is one safetensors file; the description stands as JSON in its `__metadata__` under "braid".
public struct ModelDescription: Codable, Sendable, Hashable {
  /// The catalogue's name of the architecture.
  public var architecture: String
  /// The architecture's configuration, as that architecture encodes it.
  public var configuration: JSONValue
  /// The model card: purpose, data, licence, measured quality.
  public var card: JSONValue

  /// The name of the metadata entry.
  public static let metadataKey = "braid"

  public init(architecture: String, configuration: JSONValue, card: JSONValue = .object([])) {
    self.architecture = architecture
    self.configuration = configuration
    self.card = card
  }

  /// The description with an architecture's own configuration type.
  public init(architecture: String, configuration: some Encodable, card: JSONValue = .object([])) throws {
    self.init(architecture: architecture, configuration: try JSONValue(encoding: configuration), card: card)
  }

  /// The description in a checkpoint, or nil where it has none.
  ///
  /// - Throws: `CheckpointError.malformed` where the entry is there and is not a description.
  public init?(_ checkpoint: Checkpoint) throws {
    guard let text = checkpoint.metadata[Self.metadataKey] else { return nil }
    let source = "\(checkpoint.path) (metadata \"\(Self.metadataKey)\")"
    let value = try JSONValue(parsing: text, source: source)
    guard let architecture = value["architecture"]?.stringValue, let configuration = value["configuration"]
    else {
      throw CheckpointError.malformed(
        path: source, offset: nil, reason: "a description without architecture and configuration")
    }
    self.init(architecture: architecture, configuration: configuration, card: value["card"] ?? .object([]))
  }

  /// The description of a model that is saved: its card begins with the name and ends with the number of parameters.
  public init(
    architecture: String, configuration: some Encodable, name: String,
    card: OrderedDictionary<String, String>, parameters: ParameterStore
  ) throws {
    let entries =
      [("name", name)] + card.elements.map { ($0.key, $0.value) }
      + [("parameters", String(parameters.parameterCount))]
    try self.init(
      architecture: architecture, configuration: configuration,
      card: .object(entries.map { .init(name: $0.0, value: .string($0.1)) }))
  }

  /// What `build` makes of the configuration.
  ///
  /// - Parameter source: what errors call the description.
  /// - Throws: `ModelDescriptionError.configuration`.
  public func model<Configuration: Decodable, Model>(
    _ source: String, _ build: (Configuration) throws -> Model
  ) throws -> Model {
    do {
      return try build(configuration.decoded(as: Configuration.self))
    } catch let error as ModelDescriptionError {
      throw error
    } catch {
      throw ModelDescriptionError.configuration(source: source, reason: "\(error)")
    }
  }

  /// The metadata entry that holds the description.
  public var metadata: OrderedDictionary<String, String> {
    let value = JSONValue.object([
      .init(name: "architecture", value: .string(architecture)),
      .init(name: "configuration", value: configuration),
      .init(name: "card", value: card),
    ])
    return [Self.metadataKey: value.text]
  }
}

extension SafetensorsWriter {
  /// Writes a model with its description; see `write(_:metadata:to:storedAs:)`.
  public static func write(
    _ tensors: some Sequence<(key: String, value: Tensor)>, description: ModelDescription, to path: String,
    storedAs: (String, Tensor) -> StoredType? = { _, _ in nil }
  ) throws {
    try write(tensors, metadata: description.metadata, to: path, storedAs: storedAs)
  }
}
