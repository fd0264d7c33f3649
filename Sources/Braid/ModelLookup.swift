import BraidCheckpoint
import BraidNN
import BraidTensor

/// Finds the model that a name, file or folder means, and gives it its tensors; the same for every task.
struct ModelLookup {
  /// What the model is wanted for.
  let tasks: Set<ModelCatalogue.Task>
  /// A checkpoint whose tensors replace the model's own.
  let weights: String?
  /// The set of tensors within a checkpoint, where it holds several.
  let weightsKey: String?
  let dtype: DType
  /// What a checkpoint without a description is, told from its tensors.
  let recognized: (Checkpoint) throws -> ModelDescription?

  /// How to build the model that `name` means, and the checkpoint that it is filled from.
  func find(_ name: String, in store: ModelStore) throws -> (ModelDescription, Checkpoint?) {
    if let entry = ModelCatalogue.entry(name), !tasks.contains(entry.task) {
      throw ModelError.otherTask(
        name: name, task: entry.task.rawValue, wanted: tasks.map(\.rawValue).sorted())
    }
    let (description, own) = try findOwn(name, store)
    return (description, try weights.map { try Checkpoint.open($0, options: options) } ?? own)
  }

  /// Gives `parameters` the checkpoint's tensors and makes them constants.
  func fill(_ parameters: ParameterStore, from checkpoint: Checkpoint?, of name: String) throws {
    if let checkpoint {
      try parameters.load(from: checkpoint, storedAs: dtype == .float32 ? nil : dtype)
    } else if !parameters.parameters.isEmpty {
      throw Self.weightsMissing(name)
    }
    parameters.freeze()
  }

  private var options: CheckpointOptions { CheckpointOptions(weightsKey: weightsKey) }

  /// How to build the model that `name` means, and its own weights where it has some and they are needed.
  private func findOwn(_ name: String, _ store: ModelStore) throws -> (ModelDescription, Checkpoint?) {
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
      let entries = ModelCatalogue.entries.filter { tasks.contains($0.task) }
      let names = entries.map(\.name) + store.list().map(\.name).filter { ModelCatalogue.entry($0) == nil }
      throw ModelError.unknown(
        name: name, nearest: EditDistance.nearest(to: name, in: names), available: names)
    }
    if let description = try ModelDescription(checkpoint) ?? recognized(checkpoint) {
      return (description, checkpoint)
    }
    throw ModelError.unrecognizedArchitecture(path: checkpoint.path)
  }

  private static func weightsMissing(_ name: String) -> ModelError {
    let entry = ModelCatalogue.entry(name)
    return .weightsMissing(name: name, file: entry?.publishedFile, origin: entry?.origin)
  }
}
