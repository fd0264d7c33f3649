/// A recording before and after, each measured against a clean reference.
public struct SpeechComparison: Sendable, Hashable {
  public let noisy: SpeechScores
  public let enhanced: SpeechScores

  public init(noisy: SpeechScores, enhanced: SpeechScores) {
    self.noisy = noisy
    self.enhanced = enhanced
  }

  /// Scores at 16 kHz (or the recording's own rate where that is lower) of mono samples of one length.
  public init(noisy: [Float], enhanced: [Float], reference: [Float], sampleRate: Int) {
    let rate = min(16000, sampleRate)
    let truth = Self.brought(reference, from: sampleRate, to: rate)
    func measured(_ samples: [Float]) -> SpeechScores {
      SpeechScores(Self.brought(samples, from: sampleRate, to: rate), reference: truth, sampleRate: rate)
    }
    self.init(noisy: measured(noisy), enhanced: measured(enhanced))
  }

  /// The means over the channels of a recording.
  ///
  /// - Parameters:
  ///   - noisy, enhanced: interleaved samples of `channels` channels at `sampleRate`.
  ///   - reference: the file with the clean recording: as long, one channel or as many.
  /// - Throws: `EnhanceError.reference`, `AudioError`.
  public init(
    noisy: [Float], enhanced: [Float], channels: Int, sampleRate: Int, reference path: String
  ) throws {
    let (clean, format) = try AudioReader.readAll(path)
    try Self.check(format, of: path, channels: channels, sampleRate: sampleRate)
    func channel(_ samples: [Float], _ c: Int, of count: Int) -> [Float] {
      count == 1 ? samples : stride(from: c, to: samples.count, by: count).map { samples[$0] }
    }
    let comparisons = try (0..<channels).map { c in
      let own = channel(clean, format.channels == 1 ? 0 : c, of: format.channels)
      let truth = Self.brought(own, from: format.sampleRate, to: sampleRate)
      let after = channel(enhanced, c, of: channels)
      guard truth.count == after.count else {
        throw Self.lengthError(path, truth.count, after.count, sampleRate)
      }
      return SpeechComparison(
        noisy: channel(noisy, c, of: channels), enhanced: after, reference: truth, sampleRate: sampleRate)
    }
    self.init(meanOf: comparisons)!
  }

  /// Refuses a reference that cannot be compared with a recording, before that is enhanced.
  ///
  /// - Parameters:
  ///   - length: samples of a channel of the recording, where they are known.
  /// - Throws: `EnhanceError.reference`, `AudioError`.
  public static func check(
    reference path: String, channels: Int, sampleRate: Int, length: Int?
  ) throws {
    let reader = try AudioReader(path)
    try check(reader.format, of: path, channels: channels, sampleRate: sampleRate)
    guard let length, let declared = reader.declaredLength else { return }
    let own = Resampler.length(declared, from: reader.format.sampleRate, to: sampleRate)
    if own != length { throw lengthError(path, own, length, sampleRate) }
  }

  private static func check(
    _ format: AudioFormat, of path: String, channels: Int, sampleRate: Int
  ) throws {
    guard format.channels == 1 || format.channels == channels else {
      throw EnhanceError.reference(
        path: path, reason: "it has \(format.channels) channels, the recording has \(channels)")
    }
    guard Resampler.canConvert(from: format.sampleRate, to: sampleRate) else {
      throw AudioError.rates(path: path, from: format.sampleRate, to: sampleRate)
    }
  }

  private static func lengthError(
    _ path: String, _ own: Int, _ length: Int, _ sampleRate: Int
  ) -> EnhanceError {
    .reference(
      path: path, reason: "it has \(own) samples at \(sampleRate) Hz, the recording has \(length)")
  }

  /// The mean of several comparisons; nil of none.
  public init?(meanOf comparisons: [SpeechComparison]) {
    guard let noisy = SpeechScores(meanOf: comparisons.map(\.noisy)),
      let enhanced = SpeechScores(meanOf: comparisons.map(\.enhanced))
    else { return nil }
    self.init(noisy: noisy, enhanced: enhanced)
  }

  private static func brought(_ samples: [Float], from: Int, to: Int) -> [Float] {
    from == to ? samples : Resampler(from: from, to: to).process(samples, isLast: true)
  }
}
