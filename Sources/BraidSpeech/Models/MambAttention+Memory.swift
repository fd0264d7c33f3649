extension MambAttention {
  /// Bytes of peak memory per second of a signal, about; measured (`ModelMemoryTests`).
  ///
  /// Maps of frames and bins: about nine of the model's channels at the widest place of a dense block, and what does
  /// not depend on the channels.
  public var bytesPerSecond: Int {
    let c = configuration
    let map = sampleRate / c.hop * transform.bins * 4
    return map * (9 * c.channels + 40)
  }

  /// The published model sees all that fits, as its authors' program does. A small model does better on less where
  /// loudness and noise change.
  public var longestSegment: Int? { configuration.phase == .residual ? 20 : nil }
}
