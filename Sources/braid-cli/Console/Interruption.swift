import BraidFiles
import Braid
import Foundation

/// What happens on Ctrl-C: temporary files go, a line tells how to go on, the exit code is 130.
enum Interruption {
  // Read by the signal handler: plain memory that never moves.
  nonisolated(unsafe) private static var message: UnsafeMutablePointer<CChar>? = nil
  nonisolated(unsafe) private static var messageLength = 0

  /// Installs the handler; `advice` says how to resume.
  static func handle(advice: String) {
    let text = "\ninterrupted: " + advice + "\n"
    messageLength = text.utf8.count
    message = strdup(text)
    for code in [SIGINT, SIGTERM, SIGHUP] {
      var present = sigaction()
      // Under nohup a hangup is to be ignored.
      if code == SIGHUP, sigaction(code, nil, &present) == 0, present.ignores { continue }
      signal(code) { code in
        // Only calls that a signal handler may make.
        TemporaryFiles.removeAll()
        if let message = Interruption.message {
          _ = write(STDERR_FILENO, message, Interruption.messageLength)
        }
        _exit(128 + code)
      }
    }
  }
}

extension sigaction {
  /// Whether the signal is ignored.
  var ignores: Bool {
    unsafeBitCast(__sigaction_handler.sa_handler, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self)
  }
}
