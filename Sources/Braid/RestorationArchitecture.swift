import BraidCheckpoint
import BraidVision

/// From descriptions to models.
enum RestorationArchitecture {
  /// The model that a description names, without values.
  static func model(for description: ModelDescription, source: String) throws -> any RestorationModel {
    if description.architecture == Bicubic.architecture {
      let scale = description.configuration["scale"]?.integerValue ?? 0
      guard (1...16).contains(scale) else { throw ModelError.unrecognizedArchitecture(path: source) }
      return Bicubic(scale: scale)
    }
    throw ModelError.weightsMissing(name: description.architecture, file: nil, origin: nil)
  }
}
