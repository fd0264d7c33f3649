import Braid
import Foundation

extension SpeechScores {
  /// What tables call the scores, and how many decimal places they get.
  static var columns: [(title: String, path: KeyPath<SpeechScores, Double>, places: Int)] {
    [
      ("SI-SDR", \.scaleInvariantRatio, 2), ("segSNR", \.segmentalRatio, 2), ("STOI", \.intelligibility, 3),
      ("ESTOI", \.extendedIntelligibility, 3), ("LSD", \.logSpectralDistance, 2),
    ]
  }

  /// The scores as members of an event; null where there is no such number.
  var json: JSONValue {
    func number(_ value: Double, _ places: Int) -> JSONValue {
      value.isFinite ? .rounded(value, places: places) : .null
    }
    return .object([
      ("si_sdr", number(scaleInvariantRatio, 4)), ("segmental_snr", number(segmentalRatio, 4)),
      ("stoi", number(intelligibility, 6)), ("estoi", number(extendedIntelligibility, 6)),
      ("lsd", number(logSpectralDistance, 4)),
    ])
  }

  /// A number as tables have it.
  static func text(_ value: Double, places: Int, signed: Bool = false) -> String {
    value.isNaN ? "-" : String(format: signed ? "%+.\(places)f" : "%.\(places)f", value)
  }
}

extension SpeechComparison {
  /// Three lines below a line of titles: noisy, enhanced, gain.
  var table: String {
    func line(_ name: String, _ cells: [String]) -> String {
      func padded(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.count)) + text
      }
      return name + String(repeating: " ", count: 10 - name.count) + cells.map { padded($0, 9) }.joined()
    }
    func row(_ name: String, signed: Bool = false, _ value: (KeyPath<SpeechScores, Double>) -> Double)
      -> String
    {
      line(
        name,
        SpeechScores.columns.map { SpeechScores.text(value($0.path), places: $0.places, signed: signed) })
    }
    return [
      line("", SpeechScores.columns.map(\.title)), row("noisy") { noisy[keyPath: $0] },
      row("enhanced") { enhanced[keyPath: $0] },
      row("gain", signed: true) { enhanced[keyPath: $0] - noisy[keyPath: $0] },
    ].joined(separator: "\n")
  }
}
