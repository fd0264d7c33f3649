import BraidCheckpoint
import BraidTensor

/// States as safetensors files: tensors under their names, positions as int64 tensors named "position".
extension MixerState {
  /// Writes the state, whole or not at all.
  /// - Throws: a file error that names the path.
  public func save(to path: String) throws {
    try SafetensorsWriter.write(storedTensors(), to: path)
  }

  /// The state in a file, in the form of `template`: a state of the same mixer or model, an initial one, say.
  ///
  /// - Throws: `MixerError.state` where names or shapes differ from the template (axis 1 of a growing buffer
  ///   may), or the checkpoint's own errors.
  public init(contentsOf path: String, like template: MixerState) throws {
    let checkpoint = try Checkpoint.open(path)
    var tensors: [String: Tensor] = [:]
    for entry in checkpoint.entries { tensors[entry.key] = try checkpoint.tensor(entry.key) }
    self = try template.filled(from: &tensors, prefix: "")
    if let left = tensors.keys.sorted().first { throw MixerError.state(reason: "\(left) is not part of it") }
  }

  private func filled(from tensors: inout [String: Tensor], prefix: String) throws -> MixerState {
    var result = MixerState()
    func take(_ name: String) throws -> Tensor {
      guard let tensor = tensors.removeValue(forKey: prefix + name) else {
        throw MixerError.state(reason: "\(prefix)\(name) is missing")
      }
      return tensor
    }
    let stored = try take("position")
    guard stored.dtype == .int64, stored.elementCount == 1,
      let position = stored.elements(as: Int64.self).first,
      position >= 0, position < Int64(1) << 48
    else { throw MixerError.state(reason: "\(prefix)position is not a position") }
    result.position = Int(position)
    for name in names {
      let (found, expected) = (try take(name), self[name])
      // An empty buffer grows along axis 1.
      let grows = expected.rank >= 2 && expected.shape[1] == 0
      var wanted = expected.shape.dimensions
      if grows, found.rank == wanted.count { wanted[1] = found.shape[1] }
      guard found.shape.dimensions == wanted, found.dtype == expected.dtype else {
        throw MixerError.state(
          reason: "\(prefix)\(name) is \(found.dtype.rawValue)\(found.shape), expected "
            + "\(expected.dtype.rawValue)\(expected.shape)" + (grows ? " with any axis 1" : ""))
      }
      result[name] = found.duplicated()
    }
    for (part, child) in children {
      result.children[part] = try child.filled(from: &tensors, prefix: prefix + part + ".")
    }
    return result
  }

  private func storedTensors(prefix: String = "") -> [(key: String, value: Tensor)] {
    var all: [(key: String, value: Tensor)] = [(prefix + "position", Tensor([Int64(position)]))]
    all += names.map { (prefix + $0, self[$0].detached) }
    for (part, child) in children.sorted(by: { $0.key < $1.key }) {
      all += child.storedTensors(prefix: prefix + part + ".")
    }
    return all
  }
}
