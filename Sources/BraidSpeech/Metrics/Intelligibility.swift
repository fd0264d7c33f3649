import Foundation

/// Short-time objective intelligibility of speech, and its extended form for modulated noise.
///
/// Sources: Taal et al., "An algorithm for intelligibility prediction of time-frequency weighted noisy speech", 2011;
/// Jensen and Taal, "An algorithm for predicting the intelligibility of speech masked by modulated noise maskers", 2016.
public enum Intelligibility {
  static let rate = 10_000
  static let frame = 256
  static let bands = 15
  /// Frames of a segment.
  static let segment = 30
  /// Energy range in dB below the loudest frame; what is fainter is left out.
  static let dynamicRange = 40.0
  private static let tiny = Double.ulpOfOne

  /// 0...1, higher is better; 1e-5 where less than 30 frames are not silent.
  ///
  /// Both signals are resampled to 10 kHz, frames are chosen by the reference's energy, one-third octave bands of
  /// segments of 30 frames are compared.
  /// - Parameter extended: ESTOI instead of STOI.
  public static func measure(_ signal: [Float], reference: [Float], sampleRate: Int, extended: Bool) -> Double
  {
    precondition(signal.count == reference.count && sampleRate > 0)
    var y = signal.map(Double.init)
    var x = reference.map(Double.init)
    if sampleRate != rate {
      x = PolyphaseResampler.resample(x, from: sampleRate, to: rate)
      y = PolyphaseResampler.resample(y, from: sampleRate, to: rate)
    }
    (x, y) = withoutSilence(x, y)
    let (a, b) = (octaveBands(x), octaveBands(y))
    guard a.count >= segment else { return 1e-5 }
    var sum = 0.0
    let count = a.count - segment + 1
    for start in 0..<count {
      // [band][frame]
      let xs = (0..<bands).map { band in (0..<segment).map { a[start + $0][band] } }
      let ys = (0..<bands).map { band in (0..<segment).map { b[start + $0][band] } }
      sum += extended ? extendedCorrelation(xs, ys) : correlation(xs, ys)
    }
    return sum / Double(count)
  }

  /// The mean over bands of the correlation of the clean and the clipped, rescaled envelope.
  private static func correlation(_ x: [[Double]], _ y: [[Double]]) -> Double {
    let clip = 1 + pow(10.0, 15.0 / 20)
    return zip(x, y).reduce(0.0) { sum, rows in
      let (xs, ys) = rows
      let scale = norm(xs) / (norm(ys) + tiny)
      let limited = zip(xs, ys).map { min($1 * scale, $0 * clip) }
      let (a, b) = (centred(xs), centred(limited))
      return sum + SpeechQuality.dot(a, b) / ((norm(a) + tiny) * (norm(b) + tiny))
    } / Double(bands)
  }

  /// The mean over frames of the correlation of spectra, after rows and then columns are normalised.
  private static func extendedCorrelation(_ x: [[Double]], _ y: [[Double]]) -> Double {
    func normalized(_ rows: [[Double]]) -> [[Double]] {
      let rows = rows.map { row in
        let row = centred(row)
        let length = norm(row)
        return length > 0 ? row.map { $0 / length } : row
      }
      return (0..<segment).map { frame in
        let column = centred(rows.map { $0[frame] })
        let length = norm(column)
        return length > 0 ? column.map { $0 / length } : column
      }
    }
    return zip(normalized(x), normalized(y)).reduce(0.0) { $0 + SpeechQuality.dot($1.0, $1.1) }
      / Double(segment)
  }

  private static func norm(_ x: [Double]) -> Double { SpeechQuality.dot(x, x).squareRoot() }

  private static func centred(_ x: [Double]) -> [Double] {
    let mean = x.reduce(0, +) / Double(x.count)
    return x.map { $0 - mean }
  }

  /// The Hann window of the definition, without its zeros.
  private static let window = (1...frame).map { 0.5 - 0.5 * cos(2 * .pi * Double($0) / Double(frame + 1)) }

  private static func withoutSilence(_ x: [Double], _ y: [Double]) -> ([Double], [Double]) {
    let hop = frame / 2
    let starts = Array(stride(from: 0, to: x.count - frame, by: hop))
    func windowed(_ signal: [Double], _ start: Int) -> [Double] {
      (0..<frame).map { signal[start + $0] * window[$0] }
    }
    let levels = starts.map { 20 * log10(norm(windowed(x, $0)) + tiny) }
    let loudest = levels.max() ?? 0
    let kept = zip(starts, levels).filter { loudest - dynamicRange - $0.1 < 0 }.map(\.0)
    func joined(_ signal: [Double]) -> [Double] {
      var result = [Double](repeating: 0, count: kept.isEmpty ? 0 : (kept.count - 1) * hop + frame)
      for (index, start) in kept.enumerated() {
        for i in 0..<frame { result[index * hop + i] += signal[start + i] * window[i] }
      }
      return result
    }
    return (joined(x), joined(y))
  }

  /// Magnitudes of one-third octave bands from 150 Hz on: [frames][bands].
  private static func octaveBands(_ x: [Double]) -> [[Double]] {
    let size = 2 * frame
    let fourier = PreciseFourier(length: size)
    let edges = (0..<bands).map { band -> Range<Int> in
      func nearest(_ frequency: Double) -> Int {
        (0...size / 2).min {
          abs(Double($0 * rate) / Double(size) - frequency)
            < abs(Double($1 * rate) / Double(size) - frequency)
        }!
      }
      return nearest(150 * pow(2, Double(2 * band - 1) / 6))..<nearest(150 * pow(2, Double(2 * band + 1) / 6))
    }
    return stride(from: 0, to: x.count - frame, by: frame / 2).map { start in
      let power = fourier.power((0..<size).map { $0 < frame ? x[start + $0] * window[$0] : 0 })
      return edges.map { range in range.reduce(0.0) { $0 + power[$1] }.squareRoot() }
    }
  }
}
