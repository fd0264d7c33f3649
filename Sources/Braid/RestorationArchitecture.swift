import BraidCheckpoint
import BraidVision

/// From descriptions to models.
enum RestorationArchitecture {
  /// The model that a description names, without values; throws where the description makes no sense.
  static func model(for description: ModelDescription, source: String) throws -> any RestorationModel {
    guard description.architecture == Bicubic.architecture else {
      return try RestorationModelFile.model(for: description, source: source)
    }
    let scale = description.configuration["scale"]?.integerValue ?? 0
    guard (1...16).contains(scale) else {
      throw ModelDescriptionError.configuration(source: source, reason: "scale \(scale)")
    }
    return Bicubic(scale: scale)
  }
}
