import BraidCheckpoint
import BraidTensor
import OrderedCollections

/// Saved speech enhancement models: one safetensors file whose metadata entry `braid` holds architecture,
/// configuration and model card.
public enum EnhancementModelFile {
  /// The architectures that can be saved and read.
  static let architectures = [MambAttention.architecture, StreamingMambAttention.architecture]

  /// Writes weights in half precision with the model's description, atomically.
  public static func write(
    _ tensors: [(key: String, value: Tensor)], of model: any EnhancementModel, name: String,
    card: OrderedDictionary<String, String>, to path: String
  ) throws {
    let architecture = type(of: model).architecture
    let configuration: any Encodable
    switch model {
    case let model as MambAttention: configuration = model.configuration
    case let model as StreamingMambAttention: configuration = model.configuration
    default: throw unknown(architecture, source: path)
    }
    let description = try ModelDescription(
      architecture: architecture, configuration: configuration, name: name, card: card,
      parameters: model.parameters)
    try SafetensorsWriter.write(tensors, description: description, to: path) { _, _ in .float16 }
  }

  /// The model that a description names, without values.
  /// - Throws: `ModelDescriptionError`.
  public static func model(for description: ModelDescription, source: String) throws -> any EnhancementModel {
    switch description.architecture {
    case MambAttention.architecture: try description.model(source) { try MambAttention($0) }
    case StreamingMambAttention.architecture:
      try description.model(source) { try StreamingMambAttention($0) }
    default: throw unknown(description.architecture, source: source)
    }
  }

  private static func unknown(_ name: String, source: String) -> ModelDescriptionError {
    .unknownArchitecture(source: source, name: name, known: architectures)
  }
}
