import BraidTensor
import Foundation

/// How far an estimate of clean speech is off: a weighted sum of the paper's terms and of the signal's own ratio.
///
/// A term of weight 0 is not computed. Source: Kuehne et al., "MambAttention: Mamba with multi-head attention for
/// generalizable single-channel speech enhancement", 2025, section II-D, after Lu et al., "MP-SENet", 2023.
public struct EnhancementLoss: Sendable, Codable, Hashable {
  /// Mean square of compressed magnitudes.
  public var magnitude: Float
  /// Phases, their steps along frequency and along time, each without its turns.
  public var phase: Float
  /// Twice the mean square of the compressed spectra.
  public var complex: Float
  /// Mean absolute difference of the signals.
  public var time: Float
  /// Twice the mean square between the estimated spectrum and that of the signal made from it.
  public var consistency: Float
  /// Minus the scale-invariant signal-to-distortion ratio in dB, mean over the batch.
  public var siSDR: Float
  /// MetricGAN: how far a network that learns to predict ESTOI finds the estimate from perfect (published with PESQ and
  /// 0.05). The network is trained along; the term is not part of a call.
  public var metric: Float

  public init(
    magnitude: Float = 0.9, phase: Float = 0.3, complex: Float = 0.1, time: Float = 0.2,
    consistency: Float = 0.1, siSDR: Float = 0, metric: Float = 0
  ) {
    self.magnitude = magnitude
    self.phase = phase
    self.complex = complex
    self.time = time
    self.consistency = consistency
    self.siSDR = siSDR
    self.metric = metric
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    self.init()
    func read(_ key: CodingKeys, _ field: inout Float) throws {
      field = try container.decodeIfPresent(Float.self, forKey: key) ?? field
    }
    try read(.magnitude, &magnitude)
    try read(.phase, &phase)
    try read(.complex, &complex)
    try read(.time, &time)
    try read(.consistency, &consistency)
    try read(.siSDR, &siSDR)
    try read(.metric, &metric)
  }

  /// What makes the weights unusable, or nil.
  public var problem: String? {
    let weights = [magnitude, phase, complex, time, consistency, siSDR]
    if !(weights + [metric]).allSatisfy({ $0 >= 0 && $0.isFinite }) {
      return "weights must be numbers from 0 on"
    }
    return weights.contains { $0 > 0 } ? nil : "all weights are 0 (metric alone teaches nothing at first)"
  }

  /// The loss of an estimate against clean signals [batch, samples] on the scale of the model's input.
  public func callAsFunction(
    _ estimate: SpeechEstimate, clean: Tensor, transform: ShortTimeFourier, compression: Float
  ) -> Tensor {
    var terms: [Tensor] = []
    if magnitude > 0 || phase > 0 || complex > 0 {
      let (size, angle) = transform.polarSpectra(
        clean, gains: [Double](repeating: 1, count: clean.shape[0]), compression: Double(compression))
      if magnitude > 0 { terms.append((estimate.magnitude - size).squared().mean() * magnitude) }
      if phase > 0 { terms.append(Self.phaseLoss(estimate.spectrum, angle) * phase) }
      if complex > 0 {
        let target = Tensor.stacked([size * angle.cosine(), size * angle.sine()], axis: -1)
        terms.append((estimate.spectrum - target).squared().mean() * (2 * complex))
      }
    }
    if time > 0 { terms.append((estimate.signal - clean).absolute().mean() * time) }
    if consistency > 0 {
      let again = Self.compressed(transform.spectra(estimate.signal), compression)
      terms.append((estimate.spectrum - again).squared().mean() * (2 * consistency))
    }
    if siSDR > 0 { terms.append(Self.ratio(estimate.signal, clean).mean() * -siSDR) }
    return terms.dropFirst().reduce(terms[0], +)
  }

  /// Spectra [..., 2] with their magnitudes to a power.
  static func compressed(_ spectra: Tensor, _ power: Float) -> Tensor {
    // The floor keeps the gradient of weak bins finite.
    let square = spectra.squared().sum(axes: [spectra.rank - 1], keepingAxes: true) + 1e-10
    return spectra * square.power((power - 1) / 2)
  }

  /// Mean anti-wrapped differences of phases, of their steps along frequency, and of their steps along time.
  ///
  /// - Parameters:
  ///   - spectrum: [batch, frames, bins, 2]
  ///   - target: phases [batch, frames, bins]
  static func phaseLoss(_ spectrum: Tensor, _ target: Tensor) -> Tensor {
    let difference = arctangent(spectrum.selected(axis: 3, 1), spectrum.selected(axis: 3, 0)) - target
    return unwrapped(difference).mean() + unwrapped(steps(difference, axis: 2)).mean()
      + unwrapped(steps(difference, axis: 1)).mean()
  }

  /// |x - 2 pi round(x / 2 pi)|
  static func unwrapped(_ x: Tensor) -> Tensor {
    let turns = x.detached.read { values in
      Tensor.build(x.shape) { out in
        for i in 0..<x.elementCount {
          out[i] = Float(2 * Double.pi * (Double(values[i]) / (2 * Double.pi)).rounded(.toNearestOrEven))
        }
      }
    }
    return (x - turns).absolute()
  }

  /// x[i - 1] - x[i] along an axis, with -x[0] first: the published matrix has -1 on its diagonal and +1 above.
  static func steps(_ x: Tensor, axis: Int) -> Tensor {
    x.sliced(axis: axis, 0..<x.shape[axis] - 1).padded(axis: axis, before: 1) - x
  }

  /// Scale-invariant signal-to-distortion ratios in dB of signals [batch, samples], without their means: [batch].
  ///
  /// Between about -80 and 80: where one of the two is silent, the ratio stays finite.
  static func ratio(_ signal: Tensor, _ clean: Tensor) -> Tensor {
    let x = signal - signal.mean(axes: [1], keepingAxes: true)
    let r = clean - clean.mean(axes: [1], keepingAxes: true)
    let energy = r.squared().sum(axes: [1], keepingAxes: true)
    let scale = (x * r).sum(axes: [1], keepingAxes: true) / (energy + 1e-8)
    let target = r * scale
    let power = target.squared().sum(axes: [1])
    let rest = (x - target).squared().sum(axes: [1])
    let floor = (power + rest).detached * 1e-8 + 1e-8
    return ((power + floor) / (rest + floor)).log() * Float(10 / log(10.0))
  }
}
