import BraidCheckpoint
import BraidTensor
import BraidVision

/// Which restoration model is meant, the same in every command: a name, file or folder, and tensors to put into it.
public struct RestorationModelRequest: Sendable {
  /// A name of the catalogue or of an added model, a file, or a folder; nil is the standard model for `scale`.
  public var model: String?
  /// A checkpoint whose tensors replace the model's own.
  public var weights: String?
  /// The set of tensors within a checkpoint, where it holds several.
  public var weightsKey: String?
  /// The scale that the model must have; nil takes what the model has.
  public var scale: Int?
  /// Weights are rounded to this type; computation stays in float32.
  public var dtype: DType

  public init(
    model: String? = nil, weights: String? = nil, weightsKey: String? = nil, scale: Int? = nil,
    dtype: DType = .float32
  ) {
    self.model = model
    self.weights = weights
    self.weightsKey = weightsKey
    self.scale = scale
    self.dtype = dtype
  }

  /// The model with its weights, ready to run.
  ///
  /// - Throws: `ModelError`, `CheckpointError`, or what a description in a file is refused with.
  public func load(from store: ModelStore = .standard) throws -> LoadedRestorationModel {
    guard let name = model ?? ModelCatalogue.standardName(scale: scale) else {
      throw ModelError.noModelForScale(asked: scale ?? 1, available: Self.available(scale, in: store))
    }
    let lookup = ModelLookup(
      tasks: [.denoise, .upscale], weights: weights, weightsKey: weightsKey, dtype: dtype
    ) { checkpoint in
      try HATConfiguration(checkpoint).map { try ModelDescription(architecture: "hat", configuration: $0) }
    }
    let (description, checkpoint) = try lookup.find(name, in: store)
    let source = checkpoint?.path ?? name
    let model = try RestorationArchitecture.model(for: description, source: source)
    if let scale, scale != model.scale {
      throw ModelError.scale(
        asked: scale, model: name, has: model.scale, available: Self.available(scale, in: store))
    }
    try lookup.fill(model.parameters, from: checkpoint, of: name)
    return LoadedRestorationModel(name: name, model: model, source: source, description: description)
  }

  /// The models of a scale, those whose weights are here first.
  private static func available(_ scale: Int?, in store: ModelStore) -> [String] {
    let entries = ModelCatalogue.entries.filter { $0.task != .enhance && $0.scale == scale ?? 1 }
    let here = entries.filter { !$0.needsWeights || store.place($0.name) != nil }.map(\.name)
    let others = entries.map(\.name).filter { !here.contains($0) }.map { $0 + " (weights not added)" }
    return here + others
  }
}

/// A restoration model with its weights.
public struct LoadedRestorationModel: Sendable {
  /// As it was asked for.
  public let name: String
  public let model: any RestorationModel
  /// The file that the weights are from.
  public let source: String
  public let description: ModelDescription

  /// What it is for, from its card or the catalogue.
  public var summary: String? {
    description.card["summary"]?.stringValue ?? ModelCatalogue.entry(name)?.summary
  }
}
