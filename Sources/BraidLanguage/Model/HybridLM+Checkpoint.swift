import BraidCheckpoint
import BraidNN
import BraidTensor

extension HybridLM {
  /// The model in a published folder: config.json, and safetensors with an index or without.
  ///
  /// - Parameter format: how the weights of products are held.
  /// - Throws: `LanguageModelError`, `MixerError` and `CheckpointError`, which say what, where and what to do.
  public static func load(from folder: String, storedAs format: WeightFormat = .f32) throws -> HybridLM {
    let path = folder + "/config.json"
    let configuration = try HybridLMConfiguration(contentsOf: path)
    let checkpoint = try Checkpoint.open(folder)
    let model: HybridLM
    do {
      model = try HybridLM(configuration.resolved(for: checkpoint))
    } catch let error as MixerError {
      throw LanguageModelError.inconsistent(path: path, reason: "\(error)")
    }
    try model.load(checkpoint, storedAs: format)
    return model
  }

  /// Takes all values from a checkpoint under the published keys: strict both ways, tables that follow from the
  /// configuration checked where present. The values are constant afterwards.
  public func load(_ checkpoint: Checkpoint, storedAs format: WeightFormat = .f32) throws {
    let keys = PublishedKeys(configuration)
    // A last product in the file is the embedding once more.
    let copy = head == nil ? configuration.names.head + ".weight" : nil
    try store.load(from: checkpoint, storedAs: format) { key in
      let own = keys.own(key)
      return own == copy ? nil : own
    }
    store.freeze()
  }

  /// Holds the weights of products in another format, constant from now on.
  public func hold(as format: WeightFormat) {
    for parameter in store.parameters where parameter.isFactor && parameter.shape.rank >= 2 {
      parameter.assign(QuantizedMatrix(parameter.value, as: format))
    }
    store.freeze()
  }

  /// The bytes that all parameters take.
  public var weightBytes: Int {
    store.parameters.reduce(0) { sum, parameter in
      switch parameter.factor {
      case .tensor(let tensor): sum + tensor.elementCount * tensor.dtype.byteCount
      case .matrix(let matrix): sum + matrix.byteCount
      }
    }
  }
}
