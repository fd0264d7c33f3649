import Braid
import Foundation

/// What a training run is told by a file.
protocol TrainingRecipe: Decodable {
  /// The model's name.
  var name: String { get }
  var plan: TrainingPlan { get }
}

extension TrainingRecipe {
  /// The recipe in a file; what is wrong with it is told with its place.
  static func read(from path: String) throws -> Self {
    guard let data = FileManager.default.contents(atPath: path) else {
      throw Failure(
        exitCode: Exit.noInput, code: "not_found",
        message: "\(path): there is no such recipe that can be read")
    }
    func refuse(_ context: DecodingError.Context?, _ text: String) -> Failure {
      let place = context?.codingPath.map { $0.intValue.map { "[\($0)]" } ?? $0.stringValue } ?? []
      return Failure(
        exitCode: Exit.badData, code: "configuration",
        message: "\(path): \(place.isEmpty ? "" : place.joined(separator: ".") + ": ")\(text)")
    }
    do {
      return try JSONDecoder().decode(Self.self, from: data)
    } catch DecodingError.keyNotFound(let key, let context) {
      throw refuse(context, "\"\(key.stringValue)\" is missing")
    } catch DecodingError.typeMismatch(_, let context) {
      throw refuse(context, context.debugDescription)
    } catch DecodingError.valueNotFound(_, let context) {
      throw refuse(context, context.debugDescription)
    } catch DecodingError.dataCorrupted(let context) {
      throw refuse(context, context.debugDescription)
    }
  }
}

extension Console {
  /// Tells how far a training run is. Steps that were validated (have the figure `validation`) are kept in sight; other
  /// figures pass by.
  func training(_ progress: Trainer.Progress, name: String, validation: String) {
    // Four significant digits.
    func figure(_ value: Double) -> String { String(format: "%.4g", value) }
    let values = progress.values.sorted { $0.key < $1.key }
    if progress.values[validation] != nil || isJSON {
      let text = values.map { "\($0.key) \(figure($0.value))" }.joined(separator: ", ")
      metrics(
        "step \(progress.step): \(text)",
        [("step", .integer(progress.step)), ("steps", .integer(progress.totalSteps))]
          + values.map { ($0.key, JSONValue.number($0.value)) }
          + [("eta_seconds", .rounded(progress.secondsLeft, places: 1))])
    }
    if !isJSON {
      self.progress(
        name, Double(progress.step) / Double(progress.totalSteps), secondsLeft: progress.secondsLeft,
        detail: "step \(progress.step)/\(progress.totalSteps)"
          + (progress.values["loss"].map { ", loss \(figure($0))" } ?? ""))
    }
  }
}
