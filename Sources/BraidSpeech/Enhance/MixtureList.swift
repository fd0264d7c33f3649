import Foundation

/// A list of mixtures: which clean recording gets which noise at which signal-to-noise ratio.
///
/// A CSV file whose first line names the columns clean, noise and snr_db, in any order, others among them.
public struct MixtureList: Sendable {
  public struct Entry: Sendable, Hashable {
    /// Names of files.
    public var clean: String
    public var noise: String
    /// Signal-to-noise ratio in dB.
    public var ratio: Double
  }

  public var entries: [Entry]

  /// - Throws: `AudioError.notFound`, `EnhanceError.list`.
  public init(_ path: String) throws {
    guard let data = FileManager.default.contents(atPath: path) else {
      throw AudioError.notFound(path: path)
    }
    func refuse(_ line: Int, _ reason: String) -> EnhanceError {
      .list(path: path, line: line + 1, reason: reason)
    }
    guard data.count <= 64 << 20, let text = String(data: data, encoding: .utf8) else {
      throw refuse(0, "not a list in UTF-8")
    }
    let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).map { line in
      line.split(separator: ",", omittingEmptySubsequences: false).map {
        $0.trimmingCharacters(in: .whitespaces)
      }
    }
    func column(_ name: String) throws -> Int {
      guard let index = lines[0].firstIndex(of: name) else {
        throw refuse(0, "no column \(name); the first line must name clean, noise and snr_db")
      }
      return index
    }
    let (clean, noise, ratio) = try (column("clean"), column("noise"), column("snr_db"))
    entries = []
    for (number, cells) in lines.enumerated().dropFirst() where cells != [""] {
      guard cells.count == lines[0].count else {
        throw refuse(number, "\(cells.count) columns instead of \(lines[0].count)")
      }
      guard let value = Double(cells[ratio]), (-200...200).contains(value) else {
        throw refuse(number, "\"\(cells[ratio])\" is no ratio in dB")
      }
      guard !cells[clean].isEmpty, !cells[noise].isEmpty else { throw refuse(number, "a name is missing") }
      entries.append(Entry(clean: cells[clean], noise: cells[noise], ratio: value))
    }
    guard !entries.isEmpty else { throw refuse(0, "no mixtures") }
  }
}
