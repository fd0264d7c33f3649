/// Why a description of a model's layers cannot be followed.
public enum LayerPatternError: Error, Hashable, CustomStringConvertible {
  /// A letter that stands for no kind of layer, at a position that counts from 1.
  case letter(Character, position: Int, known: String)
  /// A name that stands for no kind of layer.
  case name(String, position: Int, known: [String])
  /// Another number of layers than the model has.
  case count(found: Int, expected: Int)
  /// No layers, or more than a model can have.
  case size(Int)
  /// A ratio that is not one positive number for each kind.
  case ratio(String, kinds: Int)
  /// A period and an offset that do not go together.
  case period(Int, offset: Int)

  public var description: String {
    switch self {
    case .letter(let letter, let position, let known):
      "layer \(position): the letter \"\(letter)\" stands for no layer; known are \(known)"
    case .name(let name, let position, let known):
      "layer \(position): there is no layer named \"\(name)\"; known are \(known.joined(separator: ", "))"
    case .count(let found, let expected): "\(found) layers are described where the model has \(expected)"
    case .size(let count): "\(count) layers; a model has from 1 to \(LayerPatternError.mostLayers)"
    case .ratio(let text, let kinds):
      "\"\(text)\" is no ratio of \(kinds) kinds of layers, such as \"3:1\"; its numbers are 1 to "
        + "\(LayerPatternError.mostLayers)"
    case .period(let period, let offset):
      "every \(period)th layer from \(offset): the period is positive and the offset lies in 0..<period"
    }
  }

  static let mostLayers = 4096
}
