import BraidCheckpoint
import BraidSpeech
import BraidVision

/// The models that Braid knows by name.
public enum ModelCatalogue {
  /// What a model is for.
  public enum Task: String, Sendable, CaseIterable {
    case denoise
    case upscale
    case enhance
  }

  /// One model.
  public struct Entry: Sendable {
    public let name: String
    public let task: Task
    /// Pixels of an output's side per pixel of the input's; 1 for what has none.
    public let scale: Int
    public let summary: String
    public let architecture: String
    /// How to build it; nil where its file says so.
    public let configuration: JSONValue?
    /// The name of the published checkpoint; nil for Braid's own models.
    public let publishedFile: String?
    /// Where that is published.
    public let origin: String?
    /// Whether the model computes without weights.
    public let needsWeights: Bool

    /// Its description, where the catalogue holds it.
    public var description: ModelDescription? {
      configuration.map { ModelDescription(architecture: architecture, configuration: $0) }
    }
  }

  /// All models, in the order in which they are listed.
  public static let entries: [Entry] =
    ownModels + hatModels + baselines + speechModels + publishedSpeechModels

  /// The model `name`, or nil.
  public static func entry(_ name: String) -> Entry? { entries.first { $0.name == name } }

  /// The model for speech that is meant where none is named.
  public static func standardSpeechName(streams: Bool) -> String {
    streams ? "enhance-s-stream" : "enhance-s"
  }

  /// The model that is meant where none is named: the denoiser, or the shipped upscaler of a factor.
  public static func standardName(scale: Int?) -> String? {
    ownModels.first { $0.scale == scale ?? 1 }?.name
  }

  private static let ownModels = [
    Entry(
      name: "contrast-s-denoise", task: .denoise, scale: 1, summary: "blind colour denoising, sigma 5 to 50",
      architecture: "contrast", configuration: nil, publishedFile: nil, origin: nil, needsWeights: true),
    Entry(
      name: "contrast-s-x2", task: .upscale, scale: 2, summary: "enlargement of clean pictures",
      architecture: "contrast", configuration: nil, publishedFile: nil, origin: nil, needsWeights: true),
  ]

  private static let hatModels: [Entry] = {
    func entry(_ name: String, _ file: String, _ configuration: HATConfiguration, _ summary: String) -> Entry
    {
      Entry(
        name: name, task: .upscale, scale: configuration.scale, summary: summary, architecture: "hat",
        configuration: try? JSONValue(encoding: configuration), publishedFile: file,
        origin: "linked from https://github.com/XPixelGroup/HAT", needsWeights: true)
    }
    let scales = [2, 3, 4]
    return scales.map { entry("hat-s-x\($0)", "HAT-S_SRx\($0).pth", .small(scale: $0), "HAT, small") }
      + scales.map { entry("hat-x\($0)", "HAT_SRx\($0).pth", .base(scale: $0), "HAT") }
      + scales.map {
        entry("hat-l-x\($0)", "HAT-L_SRx\($0)_ImageNet-pretrain.pth", .large(scale: $0), "HAT, large")
      }
      + [
        entry(
          "real-hat-gan-x4", "Real_HAT_GAN_SRx4.pth", .base(scale: 4), "HAT for pictures as they are found"),
        entry(
          "real-hat-gan-sharper-x4", "Real_HAT_GAN_SRx4_sharper.pth", .base(scale: 4),
          "HAT for pictures as they are found, sharper"),
      ]
  }()

  private static let baselines = [2, 3, 4].map { scale in
    Entry(
      name: "bicubic-x\(scale)", task: .upscale, scale: scale, summary: "MATLAB's bicubic, to compare with",
      architecture: Bicubic.architecture,
      configuration: .object([.init(name: "scale", value: .integer(scale))]), publishedFile: nil, origin: nil,
      needsWeights: false)
  }

  private static let speechModels = [
    Entry(
      name: "enhance-s", task: .enhance, scale: 1, summary: "speech without noise",
      architecture: MambAttention.architecture, configuration: nil, publishedFile: nil, origin: nil,
      needsWeights: true),
    Entry(
      name: "enhance-s-stream", task: .enhance, scale: 1, summary: "speech without noise, as a stream",
      architecture: "mambattention-stream", configuration: nil, publishedFile: nil, origin: nil,
      needsWeights: true),
  ]

  private static let publishedSpeechModels: [Entry] = [
    (
      "mambattention", "MambAttention as published", MambAttention.Configuration(), "seed3441.pth",
      "https://github.com/NikolaiKyhne/MambAttention"
    ),
    (
      "semamba", "SEMamba as published", MambAttention.Configuration(heads: 1, attention: .none),
      "SEMamba_advanced.pth", "https://github.com/RoyChao19477/SEMamba"
    ),
    (
      "xlstm-senet2", "xLSTM-SENet2 as published",
      MambAttention.Configuration(blocks: 8, heads: 1, expansion: 2, mixer: .mlstm, attention: .none),
      "xLSTM_checkpoint.pth", "https://github.com/NikolaiKyhne/xLSTM-SENet"
    ),
  ].map { name, summary, configuration, file, origin in
    Entry(
      name: name, task: .enhance, scale: 1, summary: summary, architecture: MambAttention.architecture,
      configuration: try? JSONValue(encoding: configuration), publishedFile: file, origin: origin,
      needsWeights: true)
  }
}
