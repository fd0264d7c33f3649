import BraidTraining
import Foundation

/// Spectrograms of recordings.
public enum Spectrogram {
  /// A picture of mono recordings side by side, up to half their sample rate.
  public static func plot(
    _ recordings: [(title: String, samples: [Float])], sampleRate: Int
  ) -> SpectrogramPlot {
    SpectrogramPlot(
      panels: recordings.map {
        .init(
          title: $0.title,
          levels: levels(
            $0.samples, sampleRate: sampleRate, columns: SpectrogramPlot.columns, rows: SpectrogramPlot.rows))
      },
      seconds: Double(recordings.map(\.samples.count).max() ?? 0) / Double(sampleRate),
      topFrequency: Double(sampleRate) / 2)
  }

  /// Levels in dB, 0 for a sine at full scale: [columns][rows], from the first moment and 0 Hz on.
  ///
  /// A column is the mean power of up to eight frames of 32 ms (Hann window) spread over its time; a row is the mean
  /// of its bins. Below -200 dB counts as -200.
  static func levels(_ samples: [Float], sampleRate: Int, columns: Int, rows: Int) -> [[Float]] {
    let size = max(2 * rows, sampleRate * 32 / 1000 / 2 * 2)
    let fourier = PreciseFourier(length: size)
    let window = (0..<size).map { 0.5 - 0.5 * cos(2 * .pi * Double($0) / Double(size)) }
    // The power of a sine at full scale under the window.
    let full = pow(window.reduce(0, +) / 2, 2)
    let span = Double(samples.count) / Double(columns)
    let frames = min(8, max(1, Int((span / Double(size) * 2).rounded(.up))))
    return (0..<columns).map { column in
      var power = [Double](repeating: 0, count: size / 2 + 1)
      for frame in 0..<frames {
        let middle = span * (Double(column) + (Double(frame) + 0.5) / Double(frames))
        let start = Int(middle) - size / 2
        let spectrum = fourier.power(
          (0..<size).map { i in
            let n = start + i
            return n >= 0 && n < samples.count ? Double(samples[n]) * window[i] : 0
          })
        for bin in power.indices { power[bin] += spectrum[bin] }
      }
      return (0..<rows).map { row in
        let first = row * (size / 2) / rows
        let end = max(first + 1, (row + 1) * (size / 2) / rows)
        let mean = power[first..<end].reduce(0, +) / Double((end - first) * frames) / full
        return Float(10 * log10(max(mean, 1e-20)))
      }
    }
  }
}
