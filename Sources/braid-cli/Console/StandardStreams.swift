import Foundation

/// Standard input, output and error, in order before anything is opened or printed.
enum StandardStreams {
  /// Opens those that the caller closed on /dev/null: the next file would take their number, and output meant for the
  /// terminal would go into it.
  static func open() {
    // A reader that went away (`braid ... | head`) shows as an error of writing.
    signal(SIGPIPE, SIG_IGN)
    for descriptor in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] where fcntl(descriptor, F_GETFD) < 0 {
      // The lowest free number is the missing one.
      _ = Glibc.open("/dev/null", descriptor == STDIN_FILENO ? O_RDONLY : O_WRONLY)
    }
  }
}
