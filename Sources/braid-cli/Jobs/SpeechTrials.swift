import Braid
import Foundation

/// Noisy recordings whose clean truth is known: pairs of files, or mixtures of a list.
struct SpeechTrials {
  /// One recording, before it is read.
  struct Trial {
    let name: String
    let clean: String
    /// The noisy file, or the noise.
    let other: String
    /// The signal-to-noise ratio to mix at, in dB; nil where `other` is noisy already.
    let ratio: Double?
  }

  private(set) var trials: [Trial] = []
  /// Files that were left out, and why.
  private(set) var notes: [(path: String, text: String)] = []

  /// The pairs in the folders `clean` and `noisy` of a folder: files of one name.
  init(pairs folder: String) throws {
    func names(_ part: String) throws -> [String] {
      let path = folder + "/" + part
      guard FileIdentity(path)?.kind == .folder else {
        throw Failure(
          exitCode: Exit.noInput, code: "not_found", message: "\(path): there is no such folder",
          hint: "a folder of pairs holds clean/ and noisy/, with files of the same names")
      }
      guard let names = try? FileManager.default.contentsOfDirectory(atPath: path) else {
        throw AudioError.unreadable(path: path, reason: "the folder cannot be listed")
      }
      return names.filter { !$0.hasPrefix(".") }.sorted()
    }
    let (clean, noisy) = try (names("clean"), Set(names("noisy")))
    for name in clean {
      if noisy.contains(name) {
        trials.append(
          Trial(name: name, clean: "\(folder)/clean/\(name)", other: "\(folder)/noisy/\(name)", ratio: nil))
      } else {
        notes.append(("\(folder)/clean/\(name)", "nothing of that name in noisy/, left out"))
      }
    }
    for name in noisy.subtracting(clean).sorted() {
      notes.append(("\(folder)/noisy/\(name)", "nothing of that name in clean/, left out"))
    }
    if trials.isEmpty {
      throw Failure(exitCode: Exit.noInput, code: "not_found", message: "no pairs in \(folder)")
    }
  }

  /// The mixtures of a list, their files in two folders.
  init(list path: String, clean: String, noise: String) throws {
    trials = try MixtureList(path).entries.map {
      Trial(name: $0.clean, clean: "\(clean)/\($0.clean)", other: "\(noise)/\($0.noise)", ratio: $0.ratio)
    }
  }

  /// Clean and noisy samples of a trial at the clean recording's rate.
  static func read(_ trial: Trial) throws -> (clean: [Float], noisy: [Float], sampleRate: Int) {
    func mono(_ path: String) throws -> ([Float], Int) {
      let (samples, format) = try AudioReader.readAll(path, limit: 1 << 26)
      guard format.channels == 1 else {
        throw AudioError.unsupported(path: path, reason: "\(format.channels) channels; one is measured")
      }
      return (samples, format.sampleRate)
    }
    let (clean, rate) = try mono(trial.clean)
    var (other, otherRate) = try mono(trial.other)
    if otherRate != rate {
      guard Resampler.canConvert(from: otherRate, to: rate) else {
        throw AudioError.rates(path: trial.other, from: otherRate, to: rate)
      }
      other = Resampler(from: otherRate, to: rate).process(other, isLast: true)
    }
    if let ratio = trial.ratio {
      other =
        NoisyMixture.mixed(
          clean, NoisyMixture.looped(other, count: clean.count), ratio: Float(ratio)
        ).noisy
    }
    guard other.count == clean.count else {
      throw EnhanceError.reference(
        path: trial.clean, reason: "it has \(clean.count) samples at \(rate) Hz, the noisy one \(other.count)"
      )
    }
    return (clean, other, rate)
  }
}
