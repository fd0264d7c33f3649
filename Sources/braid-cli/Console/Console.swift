import Braid
import BraidFiles
import Foundation
import Synchronization

/// What the command says: results on standard output, progress, notes and errors on standard error; or all of it as
/// newline-delimited JSON events on standard output.
final class Console: Sendable {
  /// Raised when an event's fields change their meaning or go away.
  static let schema = 1

  let isJSON: Bool
  let isQuiet: Bool
  private let device: Device
  private let seed: Int?
  private let start = ContinuousClock.now
  private let display = Mutex(ProgressDisplay())
  /// Why standard output could not be written, the first time.
  private let outputError = Mutex<Int32?>(nil)

  init(_ options: ReportOptions, device: Device = .cpu, seed: Int? = nil) {
    isJSON = options.json
    isQuiet = options.quiet
    self.device = device
    self.seed = seed
    MemoryRefusal.tell(asJSON: options.json)
  }

  /// For a command whose standard output is its results alone.
  init() {
    isJSON = false
    isQuiet = false
    device = .cpu
    seed = nil
  }

  /// An event of `--json`; nothing otherwise.
  func event(_ name: String, _ fields: [(String, JSONValue)]) {
    guard isJSON else { return }
    let elapsed = start.duration(to: .now) / .seconds(1)
    let members =
      [("schema", .integer(Self.schema)), ("event", .string(name))] + fields + [
        ("braid", .string(BraidVersion.text)), ("device", .string(device.description)),
        ("threads", .integer(ThreadPool.threads)), ("seed", seed.map { .integer($0) } ?? .null),
        ("elapsed_seconds", .rounded(elapsed, places: 3)), ("peak_bytes", .integer(ProcessMemory.peakBytes)),
      ]
    print(JSONValue.object(members).text, to: .standardOutput)
  }

  /// A result: its text on standard output, or the event.
  func result(_ text: String, _ fields: [(String, JSONValue)]) {
    if isJSON { return event("result", fields) }
    clear()
    print(text, to: .standardOutput)
  }

  /// Figures of a running job: a line on standard error, or the event.
  func metrics(_ text: String, _ fields: [(String, JSONValue)]) {
    if isJSON { return event("metrics", fields) }
    if isQuiet { return }
    clear()
    print(text, to: .standardError)
  }

  /// How a batch ended; a line on standard error.
  func summary(_ text: String) {
    clear()
    print(text, to: .standardError)
  }

  /// Something that a reader should know.
  func note(_ text: String, file: String? = nil) {
    if isJSON { return event("note", [("file", .optional(file)), ("message", .string(text))]) }
    if isQuiet { return }
    clear()
    let place = file.map { "\($0.escapedForTerminal): " } ?? ""
    print("note: \(place)\(text.escapedForTerminal)", to: .standardError)
  }

  /// An error, of one input or of the whole command.
  func error(_ failure: Failure, file: String? = nil) {
    if isJSON {
      return event(
        "error",
        [
          ("file", .optional(file)), ("code", .string(failure.code)), ("message", .string(failure.message)),
          ("hint", .optional(failure.hint)), ("exit_code", .integer(Int(failure.exitCode))),
        ])
    }
    clear()
    let title = Terminal.usesColour ? "\u{1B}[31merror:\u{1B}[0m" : "error:"
    // Line breaks in messages are meant: lists of keys.
    let lines = failure.message.split(separator: "\n", omittingEmptySubsequences: false)
    let text = lines.map { Terminal.printable(String($0)) }.joined(separator: "\n")
    print("\(title) \(text)", to: .standardError)
    if let hint = failure.hint { print("hint: \(hint)", to: .standardError) }
  }

  /// How far the work has come: `label` names it, `fraction` is in 0...1.
  func progress(
    _ label: String, _ fraction: Double, secondsLeft: Double?, detail: String = "",
    fields: [(String, JSONValue)] = []
  ) {
    // Programs that read events get them all the same.
    if isQuiet && !isJSON { return }
    let isBar = !isJSON && Terminal.showsBar
    let text = display.withLock {
      $0.update(label, fraction, secondsLeft: secondsLeft, detail: detail, isBar: isBar)
    }
    guard let text else { return }
    if isJSON {
      event(
        "progress",
        fields + [
          ("fraction", .rounded(fraction, places: 4)),
          ("eta_seconds", secondsLeft.map { .rounded($0, places: 1) } ?? .null),
        ])
    } else {
      print(text, to: .standardError, terminator: isBar ? "" : "\n")
    }
  }

  /// Takes the bar away; the next text begins on a clean line.
  func clear() {
    if let text = display.withLock({ $0.clear() }) { print(text, to: .standardError, terminator: "") }
  }

  /// Throws where results did not get out (a full disk behind standard output, say). A reader that went away is none of
  /// that: it has what it wanted.
  func checkOutput() throws {
    guard let code = outputError.withLock({ $0 }) else { return }
    throw Failure(
      exitCode: Exit.cannotCreate, code: "cannot_write",
      message: "standard output cannot be written: \(systemMessage(code))")
  }

  private func print(_ text: String, to stream: FileHandle, terminator: String = "\n") {
    // No reason to stop: files are still written.
    var bytes = Array((text + terminator).utf8)[...]
    while !bytes.isEmpty {
      let count = bytes.withUnsafeBytes { write(stream.fileDescriptor, $0.baseAddress, $0.count) }
      if count > 0 {
        bytes = bytes.dropFirst(count)
      } else if errno != EINTR {
        let code = errno
        if stream.fileDescriptor == STDOUT_FILENO, code != EPIPE { outputError.withLock { $0 = $0 ?? code } }
        return
      }
    }
  }
}

/// What the process takes of the machine.
enum ProcessMemory {
  /// The most bytes of memory that the process had at once.
  static var peakBytes: Int {
    var usage = rusage()
    return getrusage(Int32(RUSAGE_SELF.rawValue), &usage) == 0 ? usage.ru_maxrss << 10 : 0
  }
}

extension JSONValue {
  static func object(_ members: [(String, JSONValue)]) -> JSONValue {
    .object(members.map { Member(name: $0.0, value: $0.1) })
  }

  static func optional(_ text: String?) -> JSONValue { text.map { .string($0) } ?? .null }

  /// The number with a few decimal places.
  static func rounded(_ value: Double, places: Int) -> JSONValue {
    let factor = (0..<places).reduce(1.0) { product, _ in product * 10 }
    return .number((value * factor).rounded() / factor)
  }
}
