import BraidTensor
import Foundation

/// One recording on its way through a pipeline, block by block.
struct EnhanceRun {
  private let pipeline: EnhancePipeline
  private let options: EnhanceOptions
  private let format: AudioFormat
  private let total: Int?
  private let progress: EnhancePipeline.Progress
  private let observer: (any SampleObserver)?
  private let start = Date()

  private var toModel: [Resampler]
  private var fromModel: [Resampler]
  private var enhancer: any BlockEnhancer
  /// What went in, at the output's rate, until what comes of it goes out.
  private var originals: [SampleQueue]
  private let keepsOriginals: Bool
  /// The last enhanced sample of each channel.
  private var last: [Float]

  /// Samples of a channel: taken at the input's rate, enhanced at the model's, given at the output's.
  private(set) var taken = 0
  private var enhanced = 0
  private(set) var given = 0
  private(set) var samplesBeyondScale = 0

  let outputRate: Int
  var segmentCount: Int { enhancer.segmentCount }

  init(
    _ pipeline: EnhancePipeline, _ format: AudioFormat, _ options: EnhanceOptions, total: Int?,
    path: String, progress: @escaping EnhancePipeline.Progress, observer: (any SampleObserver)?
  ) throws {
    let (rate, modelRate) = (format.sampleRate, pipeline.model.sampleRate)
    guard Resampler.canConvert(from: rate, to: modelRate) else {
      throw AudioError.rates(path: path, from: rate, to: modelRate)
    }
    (self.pipeline, self.options, self.format, self.total) = (pipeline, options, format, total)
    (self.progress, self.observer) = (progress, observer)
    outputRate = options.outputRate == .model ? modelRate : rate
    let outputRate = outputRate
    let channels = 0..<format.channels
    toModel = channels.map { _ in Resampler(from: rate, to: modelRate) }
    fromModel = channels.map { _ in Resampler(from: modelRate, to: outputRate) }
    originals = channels.map { _ in SampleQueue() }
    keepsOriginals = options.attenuationLimit != nil || observer != nil
    last = channels.map { _ in 0 }
    enhancer = try pipeline.enhancer(options, channels: format.channels, progress: progress)
  }

  /// What is ready, interleaved at the output's rate, after more samples, interleaved at the input's rate.
  mutating func process(_ interleaved: [Float], isLast: Bool = false) async throws -> [Float] {
    let channels = format.channels
    let frames = interleaved.count / channels
    var blocks: [[Float]] = []
    for c in 0..<channels {
      let samples = channels == 1 ? interleaved : (0..<frames).map { interleaved[$0 * channels + c] }
      blocks.append(toModel[c].process(samples, isLast: isLast))
      if keepsOriginals { originals[c].append(options.outputRate == .model ? blocks[c] : samples) }
    }
    taken += frames
    var ready = try await enhancer.process(blocks, isLast: isLast)
    enhanced += ready[0].count
    for c in 0..<channels { ready[c] = restored(ready[c], channel: c, isLast: isLast) }
    let output = finished(ready)
    report()
    return output
  }

  /// Enhanced samples at the output's rate; at the end as many as the output must have.
  private mutating func restored(_ samples: [Float], channel c: Int, isLast: Bool) -> [Float] {
    if let sample = samples.last { last[c] = sample }
    guard options.outputRate == .input, outputRate != pipeline.model.sampleRate else { return samples }
    var samples = samples
    if isLast {
      // Rounded to whole samples on the way there, a recording may come back too short.
      let ratio = Double(outputRate) / Double(pipeline.model.sampleRate)
      let missing = Double(taken) / ratio - Double(enhanced)
      if missing > 0 { samples += [Float](repeating: last[c], count: Int(missing.rounded(.up))) }
    }
    let output = fromModel[c].process(samples, isLast: isLast)
    return isLast ? Array(output.prefix(taken - given)) : output
  }

  /// The output's samples, interleaved: the input mixed in as far as a limit asks for it.
  private mutating func finished(_ ready: [[Float]]) -> [Float] {
    let (channels, frames) = (format.channels, ready[0].count)
    let share = options.attenuationLimit.map { Float(pow(10, -$0 / 20)) } ?? 0
    var output = [Float](repeating: 0, count: channels * frames)
    var before = observer == nil ? [] : output
    for c in 0..<channels {
      let original = keepsOriginals ? originals[c].take(frames) : []
      for i in 0..<frames {
        let sample = share > 0 ? ready[c][i] + share * (original[i] - ready[c][i]) : ready[c][i]
        if abs(sample) > 1 { samplesBeyondScale += 1 }
        output[i * channels + c] = sample
        if observer != nil { before[i * channels + c] = original[i] }
      }
    }
    if frames > 0 { observer?.observe(noisy: before, enhanced: output) }
    given += frames
    return output
  }

  private func report() {
    let done = Double(enhanced) / Double(pipeline.model.sampleRate)
    let whole = total.map { Double($0) / Double(format.sampleRate) }
    let fraction = whole.map { $0 > 0 ? min(1, done / $0) : 1 }
    let elapsed = Date().timeIntervalSince(start)
    progress(
      .progress(
        EnhanceProgress(
          fraction: fraction, secondsDone: done, secondsTotal: whole, secondsElapsed: elapsed,
          secondsLeft: fraction.flatMap { $0 > 0 ? elapsed / $0 * (1 - $0) : nil })))
  }
}
