import BraidCheckpoint
import BraidNN
import BraidTensor
import Foundation

extension Trainer {
  /// Writes the whole state atomically: weights, both moments, average, step.
  func save() throws {
    var tensors: [(key: String, value: Tensor)] = []
    for (index, parameter) in parameters.enumerated() {
      tensors.append(("weight/" + parameter.key, parameter.value.detached))
      tensors.append(("first/" + parameter.key, optimizer.first[index]))
      tensors.append(("second/" + parameter.key, optimizer.second[index]))
      tensors.append(("average/" + parameter.key, average[index]))
    }
    try SafetensorsWriter.write(
      tensors, metadata: ["step": String(step), "fingerprint": fingerprint], to: statePath)
  }

  /// Takes up the state in the run's folder.
  func resume() throws {
    let state = try Checkpoint.open(statePath)
    guard state.metadata["fingerprint"] == fingerprint else {
      throw TrainingError.stateMismatch(path: statePath, reason: "another model, data or plan")
    }
    guard let saved = state.metadata["step"].flatMap({ Int($0) }), saved >= 0 else {
      throw TrainingError.stateMismatch(path: statePath, reason: "no step in it")
    }
    let kinds = ["weight", "first", "second", "average"]
    let match = WeightMatch(
      kinds.flatMap { kind in parameters.map { (key: "\(kind)/\($0.key)", value: $0.shape) } })
    let tensors = try match.load(from: state)
    func all(_ kind: String) -> [Tensor] { parameters.map { tensors["\(kind)/\($0.key)"]!.duplicated() } }
    for (parameter, value) in zip(parameters, all("weight")) { parameter.assign(value.requiringGradient()) }
    optimizer.restore(step: saved, first: all("first"), second: all("second"))
    average = all("average")
    step = saved
  }
}
