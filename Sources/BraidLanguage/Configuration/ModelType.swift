import BraidCheckpoint

/// The types of published models that can be read, by the name that config.json gives them.
public enum ModelType: String, CaseIterable, Sendable {
  case mamba
  case mamba2
  case falconMamba = "falcon_mamba"
  case bamba
  case graniteMoEHybrid = "granitemoehybrid"
  case falconH1 = "falcon_h1"
  case lfm2
  case lfm2MoE = "lfm2_moe"
  case miniMax = "minimax"
  case jamba
  case qwen3Next = "qwen3_next"
  case olmoHybrid = "olmo_hybrid"
  case kimiLinear = "kimi_linear"
  case nemotronH = "nemotron_h"
  case zamba2

  func read(_ reader: ConfigurationReader) throws -> HybridLMConfiguration {
    switch self {
    case .mamba: try .mamba(reader)
    case .falconMamba: try .falconMamba(reader)
    case .mamba2: try .mamba2(reader)
    case .bamba: try .bamba(reader)
    case .graniteMoEHybrid: try .graniteMoEHybrid(reader)
    case .falconH1: try .falconH1(reader)
    case .lfm2: try .lfm2(reader)
    case .lfm2MoE: try .lfm2MoE(reader)
    case .miniMax: try .miniMax(reader)
    case .jamba: try .jamba(reader)
    case .qwen3Next: try .qwen3Next(reader)
    case .olmoHybrid: try .olmoHybrid(reader)
    case .kimiLinear: try .kimiLinear(reader)
    case .nemotronH: try .nemotronH(reader)
    case .zamba2: try .zamba2(reader)
    }
  }
}

extension HybridLMConfiguration {
  /// The model that a published config.json describes.
  ///
  /// - Throws: `LanguageModelError` that names the key, its value and what is known; `CheckpointError` for a file that
  ///   is no JSON.
  public init(contentsOf path: String) throws { self = try Self.read(ConfigurationReader(contentsOf: path)) }

  /// As `init(contentsOf:)`, of a document already read; `path` names it in errors.
  public init(_ document: JSONValue, path: String = "config.json") throws {
    self = try Self.read(ConfigurationReader(path: path, document))
  }

  private static func read(_ reader: ConfigurationReader) throws -> HybridLMConfiguration {
    let known = ModelType.allCases.map(\.rawValue)
    guard reader.has("model_type") else {
      throw LanguageModelError.unknownModelType(path: reader.path, found: "absent", known: known)
    }
    let name = try reader.string("model_type")
    // MiniMax published its first model under a name of its own, before transformers knew it.
    guard let type = ModelType(rawValue: name == "minimax_text_01" ? "minimax" : name) else {
      throw LanguageModelError.unknownModelType(path: reader.path, found: "\"\(name)\"", known: known)
    }
    var configuration = try type.read(reader)
    // Some published files name an end outside of the vocabulary: it is never generated.
    configuration.endOfSequence.removeAll { $0 < 0 || $0 >= configuration.vocabulary }
    return configuration
  }
}
