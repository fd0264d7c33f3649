import BraidCheckpoint
import BraidSpeech
import BraidTensor

/// Which model for speech is meant, the same in every command: a name, file or folder, and tensors to put into it.
public struct EnhancementModelRequest: Sendable {
  /// A name of the catalogue or of an added model, a file, or a folder; nil is the standard model.
  public var model: String?
  /// A checkpoint whose tensors replace the model's own.
  public var weights: String?
  /// The set of tensors within a checkpoint, where it holds several.
  public var weightsKey: String?
  /// Whether the standard model must work on a stream.
  public var streams: Bool
  /// Weights are rounded to this type; computation stays in float32.
  public var dtype: DType

  public init(
    model: String? = nil, weights: String? = nil, weightsKey: String? = nil, streams: Bool = false,
    dtype: DType = .float32
  ) {
    self.model = model
    self.weights = weights
    self.weightsKey = weightsKey
    self.streams = streams
    self.dtype = dtype
  }

  /// The model with its weights, ready to run.
  ///
  /// - Throws: `ModelError`, `CheckpointError`, or what a description in a file is refused with.
  public func load(from store: ModelStore = .standard) throws -> LoadedEnhancementModel {
    let name = model ?? ModelCatalogue.standardSpeechName(streams: streams)
    let lookup = ModelLookup(tasks: [.enhance], weights: weights, weightsKey: weightsKey, dtype: dtype) {
      checkpoint in
      try MambAttention.Configuration(checkpoint).map {
        try ModelDescription(architecture: MambAttention.architecture, configuration: $0)
      }
    }
    let (description, checkpoint) = try lookup.find(name, in: store)
    let source = checkpoint?.path ?? name
    let model = try EnhancementModelFile.model(for: description, source: source)
    try lookup.fill(model.parameters, from: checkpoint, of: name)
    return LoadedEnhancementModel(name: name, model: model, source: source, description: description)
  }
}

/// A model for speech with its weights.
public struct LoadedEnhancementModel: Sendable {
  /// As it was asked for.
  public let name: String
  public let model: any EnhancementModel
  /// The file that the weights are from.
  public let source: String
  public let description: ModelDescription

  /// What it is for, from its card or the catalogue.
  public var summary: String? {
    description.card["summary"]?.stringValue ?? ModelCatalogue.entry(name)?.summary
  }
}
