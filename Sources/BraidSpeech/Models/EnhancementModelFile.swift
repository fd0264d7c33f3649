import BraidCheckpoint
import BraidTensor
import Foundation
import OrderedCollections

/// Saved speech enhancement models: one safetensors file whose metadata entry `braid` holds architecture,
/// configuration and model card.
public enum EnhancementModelFile {
  /// Why a description gives no model.
  public enum Failure: Error, Equatable, Sendable, CustomStringConvertible {
    case unknownArchitecture(source: String, name: String)
    case configuration(source: String, reason: String)

    public var description: String {
      switch self {
      case .unknownArchitecture(let source, let name):
        "\(source): the architecture \"\(name)\" is not one that enhances speech (\(EnhancementModelFile.architectures))"
      case .configuration(let source, let reason):
        "\(source): the model's configuration is not usable: \(reason)"
      }
    }
  }

  /// The architectures that can be saved and read, as messages list them.
  static let architectures = [MambAttention.architecture, StreamingMambAttention.architecture].joined(
    separator: ", ")

  /// Writes weights in half precision with the model's description, atomically.
  public static func write(
    _ tensors: [(key: String, value: Tensor)], of model: any EnhancementModel, name: String,
    card: OrderedDictionary<String, String>, to path: String
  ) throws {
    let entries =
      [("name", name)] + card.elements.map { ($0.key, $0.value) }
      + [("parameters", String(model.parameters.parameterCount))]
    let description = ModelDescription(
      architecture: type(of: model).architecture, configuration: try configuration(of: model),
      card: .object(entries.map { .init(name: $0.0, value: .string($0.1)) }))
    try SafetensorsWriter.write(tensors, description: description, to: path) { _, _ in .float16 }
  }

  /// The model that a description names, without values.
  public static func model(for description: ModelDescription, source: String) throws -> any EnhancementModel {
    do {
      switch description.architecture {
      case MambAttention.architecture:
        return try MambAttention(description.configuration.decoded(as: MambAttention.Configuration.self))
      case StreamingMambAttention.architecture:
        return try StreamingMambAttention(
          description.configuration.decoded(as: StreamingMambAttention.Configuration.self))
      default:
        throw Failure.unknownArchitecture(source: source, name: description.architecture)
      }
    } catch let failure as Failure {
      throw failure
    } catch {
      throw Failure.configuration(source: source, reason: "\(error)")
    }
  }

  private static func configuration(of model: any EnhancementModel) throws -> JSONValue {
    switch model {
    case let model as MambAttention: try JSONValue(encoding: model.configuration)
    case let model as StreamingMambAttention: try JSONValue(encoding: model.configuration)
    default:
      throw Failure.unknownArchitecture(source: "save", name: type(of: model).architecture)
    }
  }
}
