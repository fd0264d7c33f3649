/// Why a mixer, or a state for one, cannot be made.
public enum MixerError: Error, Hashable, CustomStringConvertible {
  /// A configuration that contradicts itself or asks for what there is not.
  case configuration(mixer: String, reason: String)
  /// No mixer of that name.
  case unknownMixer(name: String, known: [String])
  /// A saved state that does not fit the model.
  case state(reason: String)

  public var description: String {
    switch self {
    case .configuration(let mixer, let reason): "\(mixer): \(reason)"
    case .unknownMixer(let name, let known):
      "there is no mixer named \"\(name)\"; known are \(known.joined(separator: ", "))"
    case .state(let reason): "the state does not fit: \(reason)"
    }
  }

  /// Throws `configuration` unless the condition holds.
  public static func require(
    _ condition: Bool, _ mixer: String, _ reason: @autoclosure () -> String
  ) throws(MixerError) {
    if !condition { throw .configuration(mixer: mixer, reason: reason()) }
  }
}
