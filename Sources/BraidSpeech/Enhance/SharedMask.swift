import BraidTensor

/// One gain over time and frequency for all channels of a recording.
enum SharedMask {
  /// The channels under the gain sqrt(sum |enhanced|^2 / sum |noisy|^2) of each bin: what the model takes away is
  /// taken from all channels alike, so that a voice keeps its place between them.
  ///
  /// - Parameters:
  ///   - noisy: samples of each channel.
  ///   - enhanced: the same, each channel by itself enhanced, of `padded` samples.
  static func apply(
    noisy: [[Float]], enhanced: [[Float]], padded: Int, transform: ShortTimeFourier
  ) -> [[Float]] {
    withoutGradient {
      let channels = noisy.count
      func tensor(_ signals: [[Float]]) -> Tensor {
        Tensor(
          signals.flatMap { $0 + [Float](repeating: 0, count: padded - $0.count) }, shape: [channels, padded])
      }
      func energy(_ spectra: Tensor) -> Tensor { spectra.squared().sum(axes: [0, 3], keepingAxes: true) }
      let before = transform.spectra(tensor(noisy))
      let after = transform.spectra(tensor(enhanced))
      // A bin without energy stays without.
      let gain = (energy(after) / (energy(before) + 1e-30)).squareRoot()
      return transform.signals(before * gain, length: padded).unstacked()
    }
  }
}

extension Tensor {
  /// The rows of a matrix.
  fileprivate func unstacked() -> [[Float]] {
    let (width, values) = (shape[1], floats)
    return (0..<shape[0]).map { Array(values[$0 * width..<($0 + 1) * width]) }
  }
}
