import BraidCheckpoint
import CBraidModels

/// The models within the binary.
public enum ShippedModels {
  /// All of them, by the names of the catalogue.
  public static let all: [EmbeddedModel] = {
    var models: [EmbeddedModel] = []
    while let model = braid_model_at(models.count)?.pointee {
      models.append(
        EmbeddedModel(
          name: String(cString: model.name),
          bytes: UnsafeRawBufferPointer(start: model.bytes, count: model.count)))
    }
    return models
  }()
}

extension ModelStore {
  /// The user's models and those within the binary.
  public static var standard: ModelStore { ModelStore(embedded: ShippedModels.all) }
}
