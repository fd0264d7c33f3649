/// What a recording lacks of what its header promises: it was cut short, or never finished.
public enum AudioShortfall: Sendable, Hashable {
  /// So many samples of a channel; about, where the encoding packs samples.
  case samples(Int)
  /// Its end is missing, and nothing says how much that is.
  case unknown

  /// "cut short: 1.20 s of the 3.00 s that its header promises are missing"
  ///
  /// - Parameter found: samples of a channel that are there.
  func description(found: Int, sampleRate: Int) -> String {
    switch self {
    case .samples(let missing):
      func seconds(_ samples: Int) -> String {
        let hundredths = (samples * 100 + sampleRate / 2) / sampleRate
        return "\(hundredths / 100).\(hundredths % 100 / 10)\(hundredths % 10) s"
      }
      let amount = missing * 100 < sampleRate ? "\(missing) samples" : seconds(missing)
      return "cut short: \(amount) of the \(seconds(found + missing)) that its header promises are missing"
    case .unknown:
      return "cut short: the mark of its end is missing"
    }
  }
}
