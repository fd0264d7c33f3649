import BraidTensor
import BraidTraining
import Foundation

/// Noisy speech made from clean speech and noise, example by example.
///
/// An example depends on the generator alone, not on what was made before it.
public struct NoisyMixture: Sendable {
  public let speech: AudioClips
  public let noise: AudioClips
  public let configuration: NoisyMixtureConfiguration

  /// One example: `noisy` is `clean` plus noise, in -1...1.
  public struct Example: Sendable {
    public var clean: [Float]
    public var noisy: [Float]
  }

  /// Clean and noisy batches [B, samples], each pair scaled so that the noisy signal has unit mean square.
  public struct Batch: Sendable {
    public let clean: Tensor
    public let noisy: Tensor
  }

  public init(speech: AudioClips, noise: AudioClips, _ configuration: NoisyMixtureConfiguration) throws {
    if let problem = configuration.problem { throw TrainingError.invalidConfiguration("mixture: \(problem)") }
    guard speech.count > 0 else { throw TrainingError.noData("no recordings of speech") }
    guard noise.count > 0 else { throw TrainingError.noData("no recordings of noise") }
    self.speech = speech
    self.noise = noise
    self.configuration = configuration
  }

  private var length: Int { Int(configuration.seconds * Double(speech.sampleRate)) }

  public func batch(_ count: Int, generator: Philox) throws -> Batch {
    let examples = try (0..<count).map { index in
      var draw = generator.split(UInt64(index))
      return try example(using: &draw)
    }
    return Self.batch(examples)
  }

  static func batch(_ examples: [Example]) -> Batch {
    let length = examples[0].clean.count
    let gains = examples.map { example -> Float in
      let energy = energy(example.noisy)
      return energy > 0 ? Float((Double(length) / energy).squareRoot()) : 1
    }
    func tensor(_ signal: (Example) -> [Float]) -> Tensor {
      Tensor(
        zip(examples, gains).flatMap { example, gain in signal(example).map { $0 * gain } },
        shape: [examples.count, length])
    }
    return Batch(clean: tensor(\.clean), noisy: tensor(\.noisy))
  }

  /// The next example.
  public func example(using draw: inout Philox) throws -> Example {
    let c = configuration
    var clean = try voice(using: &draw)
    var heard = clean
    if draw.uniform() < c.room {
      let room = RoomResponse(
        time: draw.uniform(c.reverberationTime[0]...c.reverberationTime[1]), sampleRate: speech.sampleRate,
        using: &draw)
      (heard, clean) = (room.heard(clean), room.early(clean))
    }
    var noise = try disturbance(using: &draw)
    if draw.uniform() < c.filter {
      let filter = SecondOrderFilter.random(using: &draw)
      (clean, heard) = (filter(clean), filter(heard))
    }
    if draw.uniform() < c.filter { noise = SecondOrderFilter.random(using: &draw)(noise) }
    if draw.uniform() < c.bandLimit {
      let cutoff = draw.uniform(0.12...0.45)
      for filter in SecondOrderFilter.lowPass(cutoff) {
        (clean, heard, noise) = (filter(clean), filter(heard), filter(noise))
      }
    }
    let ratio = draw.uniform(c.snr[0]...c.snr[1])
    let level = draw.uniform(c.level[0]...c.level[1])
    var example = Self.mixed(heard, noise, ratio: ratio)
    example.clean = clean
    return Self.levelled(example, decibels: level)
  }

  /// Speech plus noise, which is brought to a ratio of energies in dB; `clean` is the speech.
  ///
  /// Where one of the two is silent, the noise is added as it is.
  public static func mixed(_ speech: [Float], _ noise: [Float], ratio: Float) -> Example {
    precondition(speech.count == noise.count, "NoisyMixture: \(speech.count) and \(noise.count) samples")
    let (signal, disturbance) = (energy(speech), energy(noise))
    let gain =
      signal > 0 && disturbance > 0
      ? Float((signal / (disturbance * pow(10, Double(ratio) / 10))).squareRoot()) : 1
    return Example(clean: speech, noisy: zip(speech, noise).map { $0 + gain * $1 })
  }

  /// A recording repeated from its sample `start` on.
  public static func looped(_ clip: [Float], count: Int, from start: Int = 0) -> [Float] {
    precondition(!clip.isEmpty, "NoisyMixture: a recording without samples")
    return (0..<count).map { clip[(start + $0) % clip.count] }
  }

  /// The example at a level of its noisy signal's root mean square, or lower where a sample would leave -1...1.
  private static func levelled(_ example: Example, decibels: Float) -> Example {
    let energy = energy(example.noisy) / Double(example.noisy.count)
    guard energy > 0 else { return example }
    let peak = max(
      example.noisy.reduce(Float(0)) { max($0, abs($1)) }, example.clean.reduce(Float(0)) { max($0, abs($1)) }
    )
    let gain = min(Float(pow(10, Double(decibels) / 20) / energy.squareRoot()), 1 / peak)
    return Example(clean: example.clean.map { $0 * gain }, noisy: example.noisy.map { $0 * gain })
  }

  static func energy(_ x: [Float]) -> Double { x.reduce(0.0) { $0 + Double($1) * Double($1) } }

  // MARK: Sources

  /// A stretch of a random recording of speech; a few times anew where it is nearly silent.
  private func voice(using draw: inout Philox) throws -> [Float] {
    var best: [Float] = []
    for _ in 0..<4 {
      let clip = try speech.samples(draw.integer(speech.count))
      let speed = exp(draw.uniform(log(configuration.speechSpeed[0])...log(configuration.speechSpeed[1])))
      let stretch = Self.stretch(of: clip, count: length, speed: speed, position: draw.uniform())
      if Self.energy(stretch) > Self.energy(best) { best = stretch }
      if Self.energy(best) > 1e-5 * Double(length) { break }
    }
    return best.isEmpty ? [Float](repeating: 0, count: length) : best
  }

  /// What covers the speech.
  private func disturbance(using draw: inout Philox) throws -> [Float] {
    let kind = draw.uniform()
    var sum = [Float](repeating: 0, count: length)
    func add(_ signal: [Float], decibels: Float) {
      let energy = Self.energy(signal)
      guard energy > 0 else { return }
      let gain = Float(pow(10, Double(decibels) / 20) / energy.squareRoot())
      for i in sum.indices { sum[i] += gain * signal[i] }
    }
    if kind < configuration.babble {
      for _ in 0..<3 + draw.integer(6) { add(try voice(using: &draw), decibels: draw.uniform(-6...0)) }
    } else if kind < configuration.babble + configuration.coloured {
      add(ColouredNoise.signal(length, slope: draw.uniform(-1...2), using: &draw), decibels: 0)
    } else {
      for _ in 0..<1 + draw.integer(configuration.noises) {
        let clip = try noise.samples(draw.integer(noise.count))
        let speed = exp(draw.uniform(log(configuration.noiseSpeed[0])...log(configuration.noiseSpeed[1])))
        let start = draw.integer(clip.count)
        let played =
          speed == 1
          ? Self.looped(clip, count: length, from: start)
          : Self.resampled(
            Self.looped(clip, count: Int(Float(length) * speed) + 3, from: start), count: length, speed: speed
          )
        add(played, decibels: draw.uniform(-8...0))
      }
    }
    return sum
  }

  /// `count` samples of a clip played at a speed, from a place between first (0) and last (1) on; zeros around a
  /// clip that is too short.
  static func stretch(of clip: [Float], count: Int, speed: Float, position: Float) -> [Float] {
    let needed = speed == 1 ? count : Int(Float(count) * speed) + 3
    var out = [Float](repeating: 0, count: needed)
    if clip.count >= needed {
      let start = Int(position * Float(clip.count - needed + 1))
      out = Array(clip[min(start, clip.count - needed)..<min(start, clip.count - needed) + needed])
    } else {
      let start = Int(position * Float(needed - clip.count + 1))
      out.replaceSubrange(
        min(start, needed - clip.count)..<min(start, needed - clip.count) + clip.count, with: clip)
    }
    return speed == 1 ? out : resampled(out, count: count, speed: speed)
  }

  /// A signal at another speed, by cubic interpolation (Catmull-Rom).
  static func resampled(_ x: [Float], count: Int, speed: Float) -> [Float] {
    (0..<count).map { n in
      let time = Double(n) * Double(speed)
      let i = Int(time)
      let f = Float(time - Double(i))
      func at(_ k: Int) -> Float { x[min(max(i + k, 0), x.count - 1)] }
      let (a, b, c, d) = (at(-1), at(0), at(1), at(2))
      return b + 0.5 * f * (c - a + f * (2 * a - 5 * b + 4 * c - d + f * (3 * (b - c) + d - a)))
    }
  }
}
