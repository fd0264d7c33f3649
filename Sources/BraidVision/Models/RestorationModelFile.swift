import BraidCheckpoint
import BraidTensor
import OrderedCollections

/// Saved restoration models: one safetensors file whose metadata entry `braid` holds architecture, configuration
/// and model card.
public enum RestorationModelFile {
  /// Writes weights in half precision with the model's description, atomically.
  public static func write(
    _ tensors: [(key: String, value: Tensor)], of model: any RestorationModel, name: String,
    card: OrderedDictionary<String, String>, to path: String
  ) throws {
    let architecture = type(of: model).architecture
    let configuration: any Encodable
    switch model {
    case let model as HAT: configuration = model.configuration
    case let model as Contrast: configuration = model.configuration
    default: throw unknown(architecture, source: path)
    }
    let description = try ModelDescription(
      architecture: architecture, configuration: configuration, name: name, card: card,
      parameters: model.parameters)
    try SafetensorsWriter.write(tensors, description: description, to: path) { _, _ in .float16 }
  }

  /// The model that a description names, without values.
  /// - Throws: `ModelDescriptionError`.
  public static func model(for description: ModelDescription, source: String) throws -> any RestorationModel {
    func check(_ problem: String?) throws {
      if let problem { throw ModelDescriptionError.configuration(source: source, reason: problem) }
    }
    switch description.architecture {
    case HAT.architecture:
      return try description.model(source) { (c: HATConfiguration) in
        try check(c.problem)
        return HAT(c)
      }
    case Contrast.architecture:
      return try description.model(source) { (c: ContrastConfiguration) in
        try check(c.problem)
        return Contrast(c)
      }
    default: throw unknown(description.architecture, source: source)
    }
  }

  private static func unknown(_ name: String, source: String) -> ModelDescriptionError {
    .unknownArchitecture(source: source, name: name, known: [HAT.architecture, Contrast.architecture])
  }
}
