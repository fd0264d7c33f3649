import Foundation

/// How close a recording is to its clean reference; all of mono samples of one length.
public enum SpeechQuality {
  /// Scale-invariant signal-to-distortion ratio in dB, of signals without their means.
  ///
  ///     s = (x . r / r . r) r;   10 log10(|s|^2 / |x - s|^2)
  ///
  /// Source: Le Roux et al., "SDR - half-baked or well done?", 2019.
  public static func scaleInvariantRatio(_ signal: [Float], reference: [Float]) -> Double {
    precondition(signal.count == reference.count && !signal.isEmpty)
    func centred(_ x: [Float]) -> [Double] {
      let mean = x.reduce(0.0) { $0 + Double($1) } / Double(x.count)
      return x.map { Double($0) - mean }
    }
    let (x, r) = (centred(signal), centred(reference))
    let (xr, rr) = (dot(x, r), dot(r, r))
    let scale = rr > 0 ? xr / rr : 0
    var (target, rest) = (0.0, 0.0)
    for i in x.indices {
      let s = scale * r[i]
      target += s * s
      rest += (x[i] - s) * (x[i] - s)
    }
    return 10 * log10(target / rest)
  }

  /// Segmental signal-to-noise ratio in dB: the mean over frames of 30 ms, every 7.5 ms, each kept within -10...35.
  ///
  /// Source: Loizou, "Speech enhancement: theory and practice", 2013, section 11.2.1.
  public static func segmentalRatio(_ signal: [Float], reference: [Float], sampleRate: Int) -> Double {
    precondition(signal.count == reference.count && !signal.isEmpty)
    let size = Int((30.0 * Double(sampleRate) / 1000).rounded())
    let hop = size / 4
    let window = (1...size).map { 0.5 * (1 - cos(2 * .pi * Double($0) / Double(size + 1))) }
    let frames = signal.count / hop - size / hop
    guard frames > 0 else { return .nan }
    var sum = 0.0
    for t in 0..<frames {
      var (energy, noise) = (0.0, 0.0)
      for i in 0..<size {
        let clean = Double(reference[t * hop + i]) * window[i]
        let difference = clean - Double(signal[t * hop + i]) * window[i]
        energy += clean * clean
        noise += difference * difference
      }
      let ratio = 10 * log10(energy / (noise + 1e-10) + 1e-10)
      sum += min(max(ratio, -10), 35)
    }
    return sum / Double(frames)
  }

  /// Log-spectral distance in dB: the mean over frames of the root mean square over bins of the difference of log power
  /// spectra, frames of 32 ms every 8 ms.
  public static func logSpectralDistance(_ signal: [Float], reference: [Float], sampleRate: Int) -> Double {
    precondition(signal.count == reference.count && !signal.isEmpty)
    let size = max(16, sampleRate * 32 / 1000 / 4 * 4)
    let a = powerSpectra(signal, size: size, hop: size / 4)
    let b = powerSpectra(reference, size: size, hop: size / 4)
    guard !a.isEmpty else { return .nan }
    return zip(a, b).reduce(0.0) { sum, pair in
      let squares = zip(pair.0, pair.1).reduce(0.0) { sum, bins in
        let difference = 10 * log10((bins.0 + 1e-10) / (bins.1 + 1e-10))
        return sum + difference * difference
      }
      return sum + (squares / Double(pair.0.count)).squareRoot()
    } / Double(a.count)
  }

  static func dot(_ a: [Double], _ b: [Double]) -> Double {
    var sum = 0.0
    for i in a.indices { sum += a[i] * b[i] }
    return sum
  }

  /// |X|^2 of whole frames under a periodic Hann window: [frames][bins].
  private static func powerSpectra(_ x: [Float], size: Int, hop: Int) -> [[Double]] {
    guard x.count >= size else { return [] }
    let fourier = PreciseFourier(length: size)
    let window = (0..<size).map { 0.5 - 0.5 * cos(2 * .pi * Double($0) / Double(size)) }
    return stride(from: 0, through: x.count - size, by: hop).map { start in
      fourier.power((0..<size).map { Double(x[start + $0]) * window[$0] })
    }
  }
}
