/// The kinds of a model's layers, from the first to the last.
///
/// Models describe them by a string with a letter for each layer ("M-M*-", Nemotron-H), by a ratio ("3:1", Qwen3-Next
/// and Kimi Linear), by a period and an offset (Jamba), or by a list of names (transformers' `layer_types`).
public struct LayerPattern<Kind: Hashable & Sendable>: Hashable, Sendable {
  public let layers: [Kind]

  /// - Throws: `LayerPatternError` for no layers, or for too many; so do all the others.
  public init(_ layers: [Kind]) throws(LayerPatternError) {
    guard (1...LayerPatternError.mostLayers).contains(layers.count) else {
      throw .size(layers.count)
    }
    self.layers = layers
  }

  /// One layer for each letter.
  public init(_ text: String, letters: [Character: Kind]) throws(LayerPatternError) {
    var layers: [Kind] = []
    for letter in text.prefix(LayerPatternError.mostLayers + 1) {
      guard let kind = letters[letter] else {
        throw .letter(letter, position: layers.count + 1, known: String(letters.keys.sorted()))
      }
      layers.append(kind)
    }
    try self.init(layers)
  }

  /// One layer for each name.
  public init(names: [String], known: [String: Kind]) throws(LayerPatternError) {
    var layers: [Kind] = []
    for name in names {
      guard let kind = known[name] else {
        throw .name(name, position: layers.count + 1, known: known.keys.sorted())
      }
      layers.append(kind)
    }
    try self.init(layers)
  }

  /// Groups of layers in the ratio that the text names, "3:1" for three of the first kind and one of the second, again
  /// and again; the last group may be cut short.
  public init(ratio text: String, of kinds: [Kind], layers count: Int) throws(LayerPatternError) {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false).map { Int($0) }
    guard !kinds.isEmpty, parts.count == kinds.count,
      parts.allSatisfy({ (1...LayerPatternError.mostLayers).contains($0 ?? 0) })
    else { throw .ratio(text, kinds: kinds.count) }
    guard (1...LayerPatternError.mostLayers).contains(count) else { throw .size(count) }
    let group = zip(kinds, parts).flatMap { [Kind](repeating: $0, count: $1!) }
    try self.init((0..<count).map { group[$0 % group.count] })
  }

  /// `kind` at the layers `offset`, `offset + period`, ..., and `other` elsewhere; layers count from 0.
  public init(
    _ kind: Kind, every period: Int, offset: Int, otherwise other: Kind, layers count: Int
  ) throws(LayerPatternError) {
    guard period > 0, (0..<period).contains(offset) else { throw .period(period, offset: offset) }
    guard (1...LayerPatternError.mostLayers).contains(count) else { throw .size(count) }
    try self.init((0..<count).map { $0 % period == offset ? kind : other })
  }

  /// The pattern where it has that many layers.
  /// - Throws: `LayerPatternError.count`.
  public func requiring(layers count: Int) throws(LayerPatternError) -> LayerPattern {
    guard layers.count == count else { throw .count(found: layers.count, expected: count) }
    return self
  }
}
