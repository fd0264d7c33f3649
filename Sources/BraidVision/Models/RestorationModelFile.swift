import BraidCheckpoint
import BraidTensor
import Foundation
import OrderedCollections

/// Saved restoration models: one safetensors file whose metadata entry `braid` holds architecture, configuration
/// and model card.
public enum RestorationModelFile {
  /// Why a description gives no model.
  public enum Failure: Error, Equatable, Sendable, CustomStringConvertible {
    case unknownArchitecture(source: String, name: String)
    case configuration(source: String, reason: String)

    public var description: String {
      switch self {
      case .unknownArchitecture(let source, let name):
        "\(source): the architecture \"\(name)\" is not one that restores images (hat, contrast)"
      case .configuration(let source, let reason):
        "\(source): the model's configuration is not usable: \(reason)"
      }
    }
  }

  /// Writes weights in half precision with the model's description, atomically.
  public static func write(
    _ tensors: [(key: String, value: Tensor)], of model: any RestorationModel, name: String,
    card: OrderedDictionary<String, String>, to path: String
  ) throws {
    let entries =
      [("name", name)] + card.elements.map { ($0.key, $0.value) }
      + [("parameters", String(model.parameters.parameterCount))]
    let configuration = try configuration(of: model)
    let description = ModelDescription(
      architecture: type(of: model).architecture, configuration: configuration,
      card: .object(entries.map { .init(name: $0.0, value: .string($0.1)) }))
    try SafetensorsWriter.write(tensors, description: description, to: path) { _, _ in .float16 }
  }

  /// The model that a description names, without values.
  public static func model(for description: ModelDescription, source: String) throws -> any RestorationModel {
    func decode<T: Decodable>(_ type: T.Type) throws -> T {
      do {
        return try description.configuration.decoded(as: type)
      } catch {
        throw Failure.configuration(source: source, reason: "\(error)")
      }
    }
    func checked(_ problem: String?) throws {
      if let problem { throw Failure.configuration(source: source, reason: problem) }
    }
    switch description.architecture {
    case HAT.architecture:
      let c = try decode(HATConfiguration.self)
      try checked(c.problem)
      return HAT(c)
    case Contrast.architecture:
      let c = try decode(ContrastConfiguration.self)
      try checked(c.problem)
      return Contrast(c)
    default:
      throw Failure.unknownArchitecture(source: source, name: description.architecture)
    }
  }

  private static func configuration(of model: any RestorationModel) throws -> JSONValue {
    switch model {
    case let model as HAT: try JSONValue(encoding: model.configuration)
    case let model as Contrast: try JSONValue(encoding: model.configuration)
    default:
      throw Failure.unknownArchitecture(source: "save", name: type(of: model).architecture)
    }
  }
}
