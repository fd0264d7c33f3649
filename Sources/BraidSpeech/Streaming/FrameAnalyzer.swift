import Foundation

/// Spectrum and features of one frame after the other, with the running statistics that normalise them.
///
///     X_t = DFT(w x_t) / sqrt(sum w^2);   E_t = a E_{t-1} + (1 - a) mean |X_t|^2;   Z = X / sqrt(E_t + 1e-9)
///     features of a bin: |Z|^(c - 1) (Re Z, Im Z), |Z|^c, and log |Z|^2 less its running mean, quartered
///
/// w is the square root of a periodic Hann window. The averages weigh all frames alike at first and forget
/// exponentially later (a = 1 - 1 / min(t + 1, memory)), so nothing but the past is needed and no level is assumed.
/// One object serves one signal; its memory is taken once.
final class FrameAnalyzer {
  /// Numbers that describe a bin of a frame.
  static let featureCount = 4
  /// The largest sample that counts.
  private static let limit: Float = 1e9
  /// Frames that the average of log magnitudes remembers.
  static let spectrumMemory = 100

  let size: Int
  let bins: Int
  let compression: Double
  /// Frames that the running level remembers.
  let levelMemory: Int
  private let fourier: PreciseFourier
  private let window: UnsafeMutablePointer<Double>
  private let workspace: UnsafeMutablePointer<Double>

  /// The state, given from outside: the frames seen, up to the longest memory; E_t; the running means of log |Z|^2,
  /// a bin each.
  private let state: UnsafeMutablePointer<Float>

  /// Numbers of the state of a frame of `size` samples; zeros before the first frame.
  static func stateCount(size: Int) -> Int { size / 2 + 3 }

  /// - Parameter state: `stateCount` numbers, that live as long as the analyzer.
  init(size: Int, compression: Float, levelMemory: Int, state: UnsafeMutablePointer<Float>) {
    self.state = state
    self.size = size
    bins = size / 2 + 1
    self.compression = Double(compression)
    self.levelMemory = levelMemory
    fourier = PreciseFourier(length: size)
    window = .allocate(capacity: size)
    workspace = .allocate(capacity: 5 * size)
    for i in 0..<size { window[i] = Self.window(i, of: size) }
    workspace.initialize(repeating: 0, count: 5 * size)
  }

  deinit {
    window.deallocate()
    workspace.deallocate()
  }

  /// The window of analysis and synthesis; its square, added up over frames a hop apart, is size / (2 hop).
  static func window(_ i: Int, of size: Int) -> Double { sin(.pi * Double(i) / Double(size)) }

  /// Takes the next frame of samples [size]: its spectrum [bins, 2] and features [bins, 4].
  func analyze(
    _ samples: UnsafePointer<Float>, spectrum: UnsafeMutablePointer<Float>,
    features: UnsafeMutablePointer<Float>
  ) {
    let (real, imaginary) = (workspace + size, workspace + 2 * size)
    for i in 0..<size {
      // What is not a number, or far beyond any recording, would stay in the state for ever.
      let sample = samples[i]
      workspace[i] = sample.isFinite ? Double(min(max(sample, -Self.limit), Self.limit)) * window[i] : 0
    }
    fourier.transform(workspace, real: real, imaginary: imaginary, scratch: workspace + 3 * size)
    imaginary[0] = 0
    imaginary[bins - 1] = 0
    var energy = 0.0
    for bin in 0..<bins {
      energy += real[bin] * real[bin] + imaginary[bin] * imaginary[bin]
      spectrum[2 * bin] = Float(real[bin])
      spectrum[2 * bin + 1] = Float(imaginary[bin])
    }
    // The squares of the window add up to half its size.
    let unit = 2 / Double(size)
    let frames = Int(state[0]) + 1
    let level = Double(state[1])
    state[1] = Float(level + (energy * unit / Double(bins) - level) / Double(min(frames, levelMemory)))
    let scale = (unit / (Double(state[1]) + 1e-9)).squareRoot()
    let means = state + 2
    let meanWeight = 1 / Double(min(frames, Self.spectrumMemory))
    for bin in 0..<bins {
      let (re, im) = (real[bin] * scale, imaginary[bin] * scale)
      let power = re * re + im * im
      let factor = pow(power + 1e-10, (compression - 1) / 2)
      let size = log(power + 1e-4)
      means[bin] += Float(meanWeight * (size - Double(means[bin])))
      features[4 * bin] = Float(re * factor)
      features[4 * bin + 1] = Float(im * factor)
      features[4 * bin + 2] = Float(power.squareRoot() * factor)
      features[4 * bin + 3] = Float(0.25 * (size - Double(means[bin])))
    }
    state[0] = Float(min(frames, max(levelMemory, Self.spectrumMemory)))
  }

  /// The samples [size] of a spectrum [bins, 2], windowed and scaled so that frames a hop apart add up to the signal.
  func synthesize(_ spectrum: UnsafePointer<Float>, hop: Int, samples: UnsafeMutablePointer<Float>) {
    // A real transform of Re + Im, extended by symmetry, gives the inverse: x = (Re H + Im H) / size.
    let (real, imaginary) = (workspace + size, workspace + 2 * size)
    for bin in 0..<bins {
      let (re, im) = (Double(spectrum[2 * bin]), Double(spectrum[2 * bin + 1]))
      let inner = bin > 0 && bin < bins - 1
      workspace[bin] = inner ? re + im : re
      if inner { workspace[size - bin] = re - im }
    }
    fourier.transform(workspace, real: real, imaginary: imaginary, scratch: workspace + 3 * size)
    let scale = 2 * Double(hop) / (Double(size) * Double(size))
    for i in 0..<size { samples[i] = Float((real[i] + imaginary[i]) * scale * window[i]) }
  }
}
