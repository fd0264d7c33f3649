import CBraidFiles

/// The temporary files that exist at this moment.
public enum TemporaryFiles {
  /// Removes all of them; may be called in a signal handler.
  public static func removeAll() { braid_temporary_unlink_all() }
}
