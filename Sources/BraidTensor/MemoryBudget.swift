/// How much memory a run may take.
public enum MemoryBudget {
  /// Bytes that the model's tensors take unless asked otherwise: 2 GiB, or half of what is free where that is less.
  ///
  /// A fixed size rather than a share, so that machines agree on the tiles.
  public static var standard: Int { max(64 << 20, min(2 << 30, available / 2)) }

  /// Bytes that the process can still take: the least of the system's free memory, the limits of its control groups
  /// and its own limit.
  public static var available: Int { Memory.availableBytes }
}
