/// The parts of a path, as text. (Foundation's own stop the process for names of one letter.)
extension String {
  /// What follows the last slash; of "a/" it is "a".
  var lastComponent: String {
    split(separator: "/").last.map(String.init) ?? self
  }

  /// What stands before the last slash; "" where there is none, "/" for what lies in the root.
  var parentPath: String {
    guard let slash = lastIndex(of: "/") else { return "" }
    return slash == startIndex ? "/" : String(self[..<slash])
  }

  /// The path without the extension of its last component; a leading full stop begins none.
  var withoutExtension: String {
    let name = lastComponent
    guard let dot = name.lastIndex(of: "."), dot != name.startIndex else { return self }
    return String(dropLast(name.distance(from: dot, to: name.endIndex)))
  }
}
