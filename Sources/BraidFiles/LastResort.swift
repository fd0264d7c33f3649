import CBraidFiles

/// What a program does that cannot go on: unfinished files go, and where memory was refused one line tells.
public enum LastResort {
  /// Sets the line that `memoryRefused` writes to `descriptor`, `before` and `after` around the size, and the exit code.
  public static func setLine(descriptor: Int32, before: String, after: String, exitCode: Int32) {
    braid_last_resort_set(descriptor, before, after, exitCode)
  }

  /// Removes unfinished files, writes the line and ends the process; takes no memory.
  public static func memoryRefused(_ byteCount: Int) -> Never { braid_last_resort_memory(max(0, byteCount)) }

  /// From now on a crash removes unfinished files; one for want of memory ends like `memoryRefused`.
  public static func catchCrashes() { braid_last_resort_catch_crashes() }
}
