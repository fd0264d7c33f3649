extension MambAttention {
  /// Bytes of peak memory per second of a signal, about; measured (`ModelMemoryTests`).
  ///
  /// Maps of frames and bins: some two dozen of the model's channels at the widest place of a dense block, and what
  /// does not depend on the channels (spectra in double precision, heads that are padded for the kernels).
  public var bytesPerSecond: Int {
    let c = configuration
    let map = sampleRate / c.hop * transform.bins * 4
    return map * (22 * c.channels + 470)
  }
}
