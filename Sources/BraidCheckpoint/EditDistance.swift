/// How many letters two names differ by, for naming the key that was probably meant.
package enum EditDistance {
  /// The candidate nearest to `name`, or nil where none shares at least half of its letters.
  ///
  /// Only the first `limit` candidates are looked at, and of long names the beginning: a hostile file may hold a
  /// million names.
  package static func nearest(
    to name: String, in candidates: some Collection<String>, limit: Int = 20_000
  ) -> String? {
    let letters = Array(name.utf8.prefix(160))
    var best: (distance: Int, name: String)?
    for candidate in candidates.prefix(limit) {
      let other = Array(candidate.utf8.prefix(160))
      let limit = min(best?.distance ?? Int.max, max(letters.count, other.count) / 2 + 1)
      guard abs(other.count - letters.count) < limit else { continue }
      if let distance = distance(letters, other, below: limit) { best = (distance, candidate) }
    }
    return best?.name
  }

  /// The Levenshtein distance, or nil where it is not below `limit`.
  static func distance(_ a: [UInt8], _ b: [UInt8], below limit: Int) -> Int? {
    var row = Array(0...b.count)
    for i in a.indices {
      var diagonal = row[0]
      row[0] = i + 1
      var smallest = row[0]
      for j in b.indices {
        let substitution = diagonal + (a[i] == b[j] ? 0 : 1)
        diagonal = row[j + 1]
        row[j + 1] = min(substitution, diagonal + 1, row[j] + 1)
        smallest = min(smallest, row[j + 1])
      }
      if smallest >= limit { return nil }
    }
    return row[b.count] < limit ? row[b.count] : nil
  }
}
