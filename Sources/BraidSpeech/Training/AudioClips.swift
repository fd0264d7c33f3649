import BraidTensor
import BraidTraining
import Foundation
import Synchronization

/// The recordings of folders as mono samples of one rate, decoded when they are first asked for.
public final class AudioClips: Sendable {
  public let paths: [String]
  public let sampleRate: Int
  /// Samples that are kept decoded; recordings beyond that are decoded at each use.
  public let memoryLimit: Int
  private struct Cache {
    var clips: [Int: [Float]] = [:]
    var samples = 0
  }
  private let cache = Mutex(Cache())

  /// The longest recording that is taken whole; of a longer one, the beginning.
  static let longestClip = 600

  public init(paths: [String], sampleRate: Int, memoryLimit: Int = 1 << 29) {
    self.paths = paths
    self.sampleRate = sampleRate
    self.memoryLimit = memoryLimit
  }

  /// The recordings in folders and below them, in the order of their paths.
  /// - Throws: `TrainingError.noData` where a folder cannot be read or holds no recording.
  public convenience init(folders: [String], sampleRate: Int) throws {
    var paths: [String] = []
    for folder in folders {
      var isFolder: ObjCBool = false
      guard FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder), isFolder.boolValue,
        let names = FileManager.default.enumerator(atPath: folder)
      else { throw TrainingError.noData("\(folder) is not a folder that can be read") }
      let found = names.compactMap { $0 as? String }.filter { name in
        AudioFormat.suffix(ofPath: name) != nil
      }
      guard !found.isEmpty else {
        throw TrainingError.noData("\(folder) holds no recordings (.wav, .flac, .ogg, .mp3, ...)")
      }
      paths += found.sorted().map { folder + "/" + $0 }
    }
    self.init(paths: paths, sampleRate: sampleRate)
  }

  public var count: Int { paths.count }

  /// Two sets: `count` recordings evenly spread over the order, and the others, at least one.
  public func holdingOut(_ count: Int) -> (held: AudioClips, rest: AudioClips) {
    let taken = min(count, max(0, paths.count - 1))
    let held = Set((0..<taken).map { $0 * paths.count / taken })
    func subset(_ contained: Bool) -> AudioClips {
      AudioClips(
        paths: paths.indices.filter { held.contains($0) == contained }.map { paths[$0] },
        sampleRate: sampleRate, memoryLimit: memoryLimit)
    }
    return (subset(true), subset(false))
  }

  /// The samples of a recording, its channels averaged.
  public func samples(_ index: Int) throws -> [Float] {
    if let clip = cache.withLock({ $0.clips[index] }) { return clip }
    let clip = try Self.read(paths[index], sampleRate: sampleRate)
    cache.withLock { cache in
      if cache.clips[index] == nil && cache.samples + clip.count <= memoryLimit {
        cache.clips[index] = clip
        cache.samples += clip.count
      }
    }
    return clip
  }

  private static func read(_ path: String, sampleRate: Int) throws -> [Float] {
    let reader = try AudioReader(path)
    let (rate, channels) = (reader.format.sampleRate, reader.format.channels)
    guard Resampler.canConvert(from: rate, to: sampleRate) else {
      throw AudioError.unsupported(path: path, reason: "\(rate) Hz cannot be brought to \(sampleRate) Hz")
    }
    let resampler = Resampler(from: rate, to: sampleRate)
    var clip: [Float] = []
    while clip.count < longestClip * sampleRate {
      let block = try reader.read(1 << 16)
      if block.isEmpty { break }
      let mono =
        channels == 1
        ? block
        : (0..<block.count / channels).map { frame in
          (0..<channels).reduce(Float(0)) { $0 + block[frame * channels + $1] } / Float(channels)
        }
      clip += resampler.process(mono)
    }
    clip += resampler.process([], isLast: true)
    guard !clip.isEmpty else { throw AudioError.empty(path: path) }
    return clip
  }
}
