import BraidSpeech
import BraidTensor
import Foundation

/// Writes the demo's sample recordings: `make-speech SPEECH.wav FOLDER [--snr DB] [--seed N]`.
///
/// SPEECH.wav is any recording of one channel (espeak-ng makes one); FOLDER must exist. It receives clean.wav (the
/// speech at 16 kHz) and noisy.wav (with noise at a signal-to-noise ratio of DB, default 5): a rumbling, hissing fan
/// that swells and fades, and the hum of a mains transformer.
@main
struct MakeSpeech {
  static func main() {
    do {
      try run()
    } catch {
      FileHandle.standardError.write(Data("\(error)\n".utf8))
      exit(64)
    }
  }

  static func run() throws {
    var arguments = Array(CommandLine.arguments.dropFirst())
    var options = ["--snr": 5, "--seed": 1]
    for name in options.keys.sorted() {
      guard let at = arguments.firstIndex(of: name) else { continue }
      guard at + 1 < arguments.count, let value = Int(arguments[at + 1]), (-40...40).contains(value) else {
        throw Usage(problem: "\(name) needs a whole number from -40 to 40")
      }
      options[name] = value
      arguments.removeSubrange(at...at + 1)
    }
    guard arguments.count == 2, let ratio = options["--snr"], let seed = options["--seed"] else {
      throw Usage(problem: "a recording and a folder are needed")
    }
    let (samples, format) = try AudioReader.readAll(arguments[0])
    guard format.channels == 1, Resampler.canConvert(from: format.sampleRate, to: rate) else {
      throw Usage(problem: "\(arguments[0]): one channel is needed")
    }
    let speech = Resampler(from: format.sampleRate, to: rate).process(samples, isLast: true)
    let noise = fan(speech.count, seed: UInt64(bitPattern: Int64(seed)))
    let noisy = NoisyMixture.mixed(speech, noise, ratio: Float(ratio)).noisy
    // Loud enough to hear, and not clipped.
    let peak = noisy.reduce(Float(0)) { max($0, abs($1)) }
    let gain = peak > 0 ? 0.8 / peak : 1
    try write(speech.map { $0 * gain }, to: arguments[1] + "/clean.wav")
    try write(noisy.map { $0 * gain }, to: arguments[1] + "/noisy.wav")
  }

  static let rate = 16000

  /// A fan's noise: low-pass filtered and white noise under a slow swell, and a hum of 100 Hz with its harmonics.
  static func fan(_ count: Int, seed: UInt64) -> [Float] {
    var generator = Philox(seed: seed)
    let white = Tensor.normal([max(count, 1)], using: &generator).floats
    var low: Float = 0
    return (0..<count).map { n in
      low += 0.06 * (white[n] - low)
      let t = Double(n) / Double(rate)
      let swell = 1 + 0.5 * sin(2 * .pi * 0.4 * t)
      let hum = (1...4).reduce(0.0) { $0 + sin(2 * .pi * 100 * Double($1) * t) / Double($1) }
      return Float(swell) * (4 * low + 0.35 * white[n]) + 0.25 * Float(hum)
    }
  }

  static func write(_ samples: [Float], to path: String) throws {
    let pcm = PCMFormat(encoding: .s16le, sampleRate: rate, channels: 1)
    let format = try pcm.audioFormat.forOutput(path, encoding: .pcm16, sampleRate: rate)
    let writer = try AudioWriter(path, format: format)
    try writer.write(samples)
    try writer.commit()
  }

  struct Usage: Error, CustomStringConvertible {
    var problem: String
    var description: String {
      "\(problem)\nusage: make-speech SPEECH.wav FOLDER [--snr DB] [--seed N]"
    }
  }
}
