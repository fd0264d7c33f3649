import Braid
import Foundation

/// A bar on a terminal, a line every few seconds elsewhere.
struct ProgressDisplay {
  /// Seconds between lines, and between redrawings of the bar.
  private static let lineInterval = 3.0
  private static let barInterval = 0.1

  private var last = Date()
  private var isShown = false

  /// The text to print now, or nil where the last one is recent enough.
  mutating func update(
    _ label: String, _ fraction: Double, secondsLeft: Double?, detail: String, isBar: Bool
  ) -> String? {
    let now = Date()
    guard now.timeIntervalSince(last) >= (isBar ? Self.barInterval : Self.lineInterval) else { return nil }
    last = now
    let name = label.escapedForTerminal
    let percent = "\(Int((fraction * 100).rounded(.down)))%"
    let rest =
      (detail.isEmpty ? "" : ", " + detail) + (secondsLeft.map { ", \(Self.time($0)) left" } ?? "")
    guard isBar else { return "\(name): \(percent)\(rest)" }
    isShown = true
    let cells = 24
    let filled = Int((min(max(fraction, 0), 1) * Double(cells)).rounded(.down))
    let bar = String(repeating: "#", count: filled) + String(repeating: "-", count: cells - filled)
    return "\r" + String("[\(bar)] \(percent)\(rest)  \(name)".prefix(max(20, Terminal.width - 1)))
      + "\u{1B}[K"
  }

  /// The text that takes the bar away, or nil where none is shown.
  mutating func clear() -> String? {
    defer { isShown = false }
    return isShown ? "\r\u{1B}[K" : nil
  }

  /// Seconds as "0:07" or "1:02:03".
  static func time(_ seconds: Double) -> String {
    let total = Int(min(max(seconds, 0), 359_999).rounded(.up))
    func two(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
    let (hours, minutes) = (total / 3600, total / 60 % 60)
    return (hours > 0 ? "\(hours):\(two(minutes))" : "\(minutes)") + ":\(two(total % 60))"
  }
}

/// What standard error can show.
enum Terminal {
  private static let isTerminal = isatty(STDERR_FILENO) == 1
  private static let isDumb = ProcessInfo.processInfo.environment["TERM"] == "dumb"
  /// https://no-color.org: any value but an empty one.
  private static let avoidsColour = !(ProcessInfo.processInfo.environment["NO_COLOR"] ?? "").isEmpty

  static var showsBar: Bool { isTerminal && !isDumb }
  static var usesColour: Bool { showsBar && !avoidsColour }

  /// The columns of the terminal, 80 where unknown.
  static var width: Int {
    var size = winsize()
    return ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0 ? Int(size.ws_col) : 80
  }

  /// The text without the control characters that a file's name or content may have put into it.
  static func printable(_ text: String) -> String {
    text.unicodeScalars.contains { $0.value < 0x20 || (0x7F...0x9F).contains($0.value) }
      ? text.escapedForTerminal : text
  }
}
