import BraidCheckpoint
import CBraidModels

/// The models within the binary.
public enum ShippedModels {
  /// All of them, by the names of the catalogue.
  public static let all: [EmbeddedModel] = withUnsafePointer(to: braid_models) { table in
    // C's array is imported as its first element's address only through a pointer.
    table.withMemoryRebound(to: braid_model.self, capacity: braid_model_count) { models in
      (0..<braid_model_count).map { index in
        EmbeddedModel(
          name: String(cString: models[index].name),
          bytes: UnsafeRawBufferPointer(start: models[index].bytes, count: models[index].count))
      }
    }
  }
}

extension ModelStore {
  /// The user's models and those within the binary.
  public static var standard: ModelStore { ModelStore(embedded: ShippedModels.all) }
}
