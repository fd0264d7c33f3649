import BraidCheckpoint
import BraidNN
import BraidTensor
import BraidTraining
import Foundation
import OrderedCollections

/// Trains a speech enhancement model from a recipe, folders of clean speech and folders of noise.
public enum EnhanceTraining {
  /// The model that a recipe describes, without values.
  public static func model(_ configuration: EnhanceTrainingConfiguration) throws -> any EnhancementModel {
    do {
      switch configuration.model {
      case .mambattention(let c): return try MambAttention(c)
      case .streaming(let c): return try StreamingMambAttention(c)
      }
    } catch {
      throw TrainingError.invalidConfiguration("\(error)")
    }
  }

  /// Runs, or resumes, a training run in `folder`.
  ///
  /// The folder holds `state.safetensors` (to resume), `metrics.jsonl`, `curve.png` and, at the end,
  /// `<name>.safetensors` in half precision.
  ///
  /// - Parameters:
  ///   - speech, noise: folders of recordings.
  ///   - initial: weights to start from, instead of random ones.
  /// - Returns: the path of the finished model.
  /// - Throws: `TrainingError`, `AudioError`, `CheckpointError`, `CancellationError`.
  @discardableResult
  public static func run(
    _ configuration: EnhanceTrainingConfiguration, speech: [String], noise: [String],
    initial: Checkpoint? = nil, folder: String, progress: (Trainer.Progress) -> Void = { _ in }
  ) throws -> String {
    let c = configuration
    let model = try model(c)
    if let problem = c.loss.problem { throw TrainingError.invalidConfiguration("loss: \(problem)") }
    guard (1...4096).contains(c.batch), c.validationCount >= 0 else {
      throw TrainingError.invalidConfiguration("batch \(c.batch), validationCount \(c.validationCount)")
    }
    let rate = model.sampleRate
    guard Int(c.mixture.seconds * Double(rate)) >= model.shortestSignal else {
      throw TrainingError.invalidConfiguration("mixture: \(c.mixture.seconds) s are too short for the model")
    }
    let (heldSpeech, speech) = try AudioClips(folders: speech, sampleRate: rate).holdingOut(c.validationCount)
    let (heldNoise, noise) = try AudioClips(folders: noise, sampleRate: rate).holdingOut(c.validationCount)
    let mixture = try NoisyMixture(speech: speech, noise: noise, c.mixture)
    let held = try validationExamples(heldSpeech, heldNoise, c)
    model.parameters.initialize(seed: c.plan.seed)
    if let initial { try model.parameters.load(from: initial) }
    let helper = c.loss.metric > 0 ? ParameterStore() : nil
    let judge = helper.map { MetricDiscriminator($0.root("discriminator")) }
    helper?.initialize(seed: c.plan.seed)

    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    let fingerprint =
      String(decoding: try encoder.encode(c), as: UTF8.self)
      + " \(speech.count) of speech, \(noise.count) of noise"
    // Every step takes and frees the same blocks: keeping them saves a fifth of the time.
    Memory.cacheLimit = max(Memory.cacheLimit, 8 << 30)
    let trainer = try Trainer(
      model.parameters, helper: helper, plan: c.plan, folder: folder, fingerprint: fingerprint)
    try trainer.run { _, generator in
      let batch = try mixture.batch(c.batch, generator: generator)
      let estimate = model.estimate(batch.noisy)
      let loss = c.loss(
        estimate, clean: batch.clean, transform: model.transform, compression: model.compression)
      guard let judge else { return loss }
      let clean = model.transform.polarSpectra(
        batch.clean, gains: [Double](repeating: 1, count: c.batch), compression: Double(model.compression))
      return loss
        + judge.loss(
          clean: clean.magnitude, estimate: estimate.magnitude,
          metrics: metrics(estimate.signal, batch.clean, sampleRate: rate), weight: c.loss.metric,
          generator: generator.split(1 << 32))
    } validate: {
      validate(model, held)
    } progress: {
      progress($0)
    }
    try trainer.log.plot(to: folder + "/curve.png")
    let path = "\(folder)/\(c.name).safetensors"
    let last = trainer.log.records().last { $0.values["siSDRGain"] != nil }?.values
    var card: OrderedDictionary = [
      "summary": c.summary,
      "training":
        "\(trainer.step) steps of \(c.batch) mixtures of \(c.mixture.seconds) s from \(speech.count) recordings of "
        + "speech and \(noise.count) of noise, seed \(c.plan.seed)",
      "validation": last.map {
        String(
          format: "SI-SDR %+.2f dB, ESTOI %.3f on held-out mixtures", $0["siSDRGain"]!, $0["estoi"] ?? .nan)
      } ?? "none",
    ]
    for (key, value) in (c.card ?? [:]).sorted(by: { $0.key < $1.key }) { card[key] = value }
    try EnhancementModelFile.write(trainer.published, of: model, name: c.name, card: card, to: path)
    return path
  }

  /// ESTOI of signals [batch, samples], 0 to 1; nil where a clip is too short or silent to have any.
  private static func metrics(_ signals: Tensor, _ clean: Tensor, sampleRate: Int) -> [Float]? {
    let (y, x, length) = (signals.detached.floats, clean.floats, clean.shape[1])
    var values: [Float] = []
    for start in stride(from: 0, to: x.count, by: length) {
      let value = Intelligibility.measure(
        Array(y[start..<start + length]), reference: Array(x[start..<start + length]),
        sampleRate: sampleRate, extended: true)
      guard value.isFinite, value != 1e-5 else { return nil }
      values.append(Float(min(max(value, 0), 1)))
    }
    return values
  }

  /// Held-out speech in held-out noise at the recipe's ratios in turn, at most four seconds each.
  private static func validationExamples(
    _ speech: AudioClips, _ noise: AudioClips, _ c: EnhanceTrainingConfiguration
  ) throws -> [NoisyMixture.Example] {
    let ratios = c.validationRatios ?? [-5, 0, 5, 10]
    guard noise.count > 0, !ratios.isEmpty else { return [] }
    return try (0..<speech.count).map { index in
      let clean = Array(try speech.samples(index).prefix(4 * speech.sampleRate))
      let disturbance = NoisyMixture.looped(try noise.samples(index % noise.count), count: clean.count)
      return NoisyMixture.mixed(clean, disturbance, ratio: ratios[index % ratios.count])
    }
  }

  /// Mean SI-SDR gain in dB and mean ESTOI over examples.
  static func validate(_ model: any EnhancementModel, _ examples: [NoisyMixture.Example]) -> [String: Double]
  {
    var (gain, quality, count) = (0.0, 0.0, 0.0)
    for example in examples where example.clean.count >= model.shortestSignal {
      let output = model.enhanced(Tensor(example.noisy, shape: [1, example.noisy.count])).floats
      gain +=
        SpeechQuality.scaleInvariantRatio(output, reference: example.clean)
        - SpeechQuality.scaleInvariantRatio(example.noisy, reference: example.clean)
      quality += Intelligibility.measure(
        output, reference: example.clean, sampleRate: model.sampleRate, extended: true)
      count += 1
    }
    return count > 0 ? ["siSDRGain": gain / count, "estoi": quality / count] : [:]
  }
}
