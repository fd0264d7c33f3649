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
    var (description, checkpoint) = try find(name, store)
    if let weights { checkpoint = try Checkpoint.open(weights, options: options) }
    let source = checkpoint?.path ?? name
    let model = try RestorationArchitecture.model(for: description, source: source)
    if let scale, scale != model.scale {
      throw ModelError.scale(
        asked: scale, model: name, has: model.scale, available: Self.available(scale, in: store))
    }
    if let checkpoint {
      try model.parameters.load(from: checkpoint, storedAs: dtype == .float32 ? nil : dtype)
    } else if !model.parameters.parameters.isEmpty {
      throw Self.weightsMissing(name)
    }
    model.parameters.freeze()
    return LoadedRestorationModel(name: name, model: model, source: source, description: description)
  }

  private var options: CheckpointOptions { CheckpointOptions(weightsKey: weightsKey) }

  /// How to build the model that `name` means, and its own weights where it has some and they are needed.
  private func find(_ name: String, _ store: ModelStore) throws -> (ModelDescription, Checkpoint?) {
    // The key names a set within the file that is used.
    let own = weights == nil ? options : CheckpointOptions()
    if let entry = ModelCatalogue.entry(name) {
      let place = entry.needsWeights ? store.place(name) : nil
      if let description = entry.description, weights != nil || place == nil {
        if weights == nil && entry.needsWeights { throw Self.weightsMissing(name) }
        return (description, nil)
      }
      guard place != nil else { throw Self.weightsMissing(name) }
      let checkpoint = try store.open(name, options: own)
      // What a file says of itself counts: it may have been trained anew with another configuration.
      guard let description = try ModelDescription(checkpoint) ?? entry.description else {
        throw ModelError.unrecognizedArchitecture(path: checkpoint.path)
      }
      return (description, checkpoint)
    }
    let checkpoint: Checkpoint
    do {
      checkpoint = try store.open(name, options: own)
    } catch ModelStoreError.unknown {
      // What looks like a path is a missing file rather than a misspelt name.
      if name.contains("/")
        || ["safetensors", "pth", "pt", "bin"].contains(where: { name.hasSuffix("." + $0) })
      {
        throw CheckpointError.notFound(path: name)
      }
      let names = ModelCatalogue.entries.map(\.name) + store.list().map(\.name)
      var seen: Set<String> = []
      let available = names.filter { seen.insert($0).inserted }
      throw ModelError.unknown(
        name: name, nearest: EditDistance.nearest(to: name, in: available), available: available)
    }
    if let description = try ModelDescription(checkpoint) { return (description, checkpoint) }
    if let configuration = HATConfiguration(checkpoint) {
      return (try ModelDescription(architecture: "hat", configuration: configuration), checkpoint)
    }
    throw ModelError.unrecognizedArchitecture(path: checkpoint.path)
  }

  private static func weightsMissing(_ name: String) -> ModelError {
    let entry = ModelCatalogue.entry(name)
    return .weightsMissing(name: name, file: entry?.publishedFile, origin: entry?.origin)
  }

  /// The models of a scale, those whose weights are here first.
  private static func available(_ scale: Int?, in store: ModelStore) -> [String] {
    let entries = ModelCatalogue.entries.filter { $0.scale == scale ?? 1 }
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
