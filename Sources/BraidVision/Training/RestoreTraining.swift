import BraidCheckpoint
import BraidNN
import BraidTensor
import BraidTraining
import Foundation

/// Trains a restoration model from a recipe and a folder of pictures.
public enum RestoreTraining {
  /// The model that a recipe describes, without values.
  public static func model(_ configuration: RestoreTrainingConfiguration) -> any RestorationModel {
    switch configuration.model {
    case .contrast(let c): Contrast(c)
    case .hat(let c): HAT(c)
    }
  }

  /// Runs, or resumes, a training run in `folder`.
  ///
  /// The folder holds `state.safetensors` (to resume), `metrics.jsonl`, `curve.png` and, at the end,
  /// `<name>.safetensors` in half precision.
  ///
  /// - Parameters:
  ///   - data: folders of clean pictures.
  ///   - initial: weights to start from, instead of random ones.
  /// - Returns: the path of the finished model.
  /// - Throws: `TrainingError`, `ImageError`, `CheckpointError`, `CancellationError`.
  @discardableResult
  public static func run(
    _ configuration: RestoreTrainingConfiguration, data: [String], initial: Checkpoint? = nil, folder: String,
    progress: (Trainer.Progress) -> Void = { _ in }
  ) throws -> String {
    let c = configuration
    let model = model(c)
    try check(c, model)
    let images = try PatchSource.images(in: data)
    let held = min(c.validationCount, max(0, images.count - 1))
    let validation = Array(images.prefix(held))
    let source = try PatchSource(images: Array(images.dropFirst(held)), patch: c.patch)
    model.parameters.initialize(seed: c.plan.seed)
    if let initial { try model.parameters.load(from: initial) }

    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    let fingerprint = String(decoding: try encoder.encode(c), as: UTF8.self) + " \(images.count) pictures"
    // Every step takes and frees the same blocks: keeping them saves a fifth of the time.
    Memory.cacheLimit = max(Memory.cacheLimit, 8 << 30)
    let trainer = try Trainer(model.parameters, plan: c.plan, folder: folder, fingerprint: fingerprint)
    try trainer.run { _, generator in
      let batch = try source.batch(
        c.batch, patch: c.patch, degradations: c.degradations, generator: generator)
      return loss(c.loss, model(batch.spoilt), batch.clean)
    } validate: {
      ["psnr": try self.validate(model, c, validation)]
    } progress: {
      progress($0)
    }
    try trainer.log.plot(to: folder + "/curve.png")
    let path = "\(folder)/\(c.name).safetensors"
    try save(trainer, model, c, pictures: images.count - held, to: path)
    return path
  }

  private static func check(_ c: RestoreTrainingConfiguration, _ model: any RestorationModel) throws {
    let scale = Degradation.scale(of: c.degradations)
    guard scale == model.scale else {
      throw TrainingError.invalidConfiguration(
        "the degradations shrink by \(scale), the model enlarges by \(model.scale)")
    }
    guard c.batch > 0, c.patch > 0, c.patch % (model.sizeMultiple * model.scale) == 0 else {
      throw TrainingError.invalidConfiguration(
        "patch \(c.patch) is not a multiple of \(model.sizeMultiple * model.scale), or batch \(c.batch) is not positive"
      )
    }
  }

  private static func loss(_ kind: RestoreTrainingConfiguration.Loss, _ output: Tensor, _ target: Tensor)
    -> Tensor
  {
    switch kind {
    case .l1: (output - target).absolute().mean()
    case .charbonnier: ((output - target).squared() + 1e-6).squareRoot().mean()
    case .mse: (output - target).squared().mean()
    }
  }

  /// The mean PSNR (RGB, output rounded to 8 bits) over centre crops of the held-out pictures.
  private static func validate(
    _ model: any RestorationModel, _ c: RestoreTrainingConfiguration, _ images: [ImageBuffer]
  ) throws -> Double {
    guard !images.isEmpty else { return .nan }
    let unit = model.sizeMultiple * model.scale
    let generator = Philox(seed: 0x5641_4C49)
    var total = 0.0
    for (index, image) in images.enumerated() {
      let side = min(192, min(image.width, image.height)) / unit * unit
      guard side > 0 else { continue }
      let clean = PatchSource.crop(
        image, x: (image.width - side) / 2, y: (image.height - side) / 2, side: side, symmetry: 0)
      var draw = generator.split(UInt64(index))
      let spoilt = try Degradation.apply(c.validationDegradations ?? c.degradations, to: clean, using: &draw)
      let output = model(spoilt.unsqueezed(0))
      total += try ImageQuality.psnr(ImageBuffer(tensor: output), ImageBuffer(tensor: clean.unsqueezed(0)))
    }
    return total / Double(images.count)
  }

  private static func save(
    _ trainer: Trainer, _ model: any RestorationModel, _ c: RestoreTrainingConfiguration, pictures: Int,
    to path: String
  ) throws {
    let psnr = trainer.log.records().last { $0.values["psnr"] != nil }?.values["psnr"]
    try RestorationModelFile.write(
      trainer.published, of: model, name: c.name,
      card: [
        "summary": c.summary,
        "training":
          "\(trainer.step) steps of \(c.batch) crops of \(c.patch) pixels from \(pictures) pictures, seed \(c.plan.seed)",
        "validation": psnr.map { String(format: "%.2f dB RGB PSNR on held-out pictures", $0) } ?? "none",
      ], to: path)
  }
}
