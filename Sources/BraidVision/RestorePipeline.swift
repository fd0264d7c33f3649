import BraidTensor
import Foundation
import Synchronization

/// Restores pictures with a model: from a file or a buffer to a file or a buffer, in tiles that fit in memory.
///
/// A value that may be shared between tasks. Runs honour the cancellation of their task between tiles.
public struct RestorePipeline: Sendable {
  public typealias Progress = @Sendable (RestoreEvent) -> Void

  public let model: any RestorationModel
  /// Throws where so many bytes cannot be had.
  var preflight: @Sendable (Int) throws -> Void = { try Memory.preflight(byteCount: $0) }

  /// Whether a tile went through the model: from then on its weights lie packed for the kernels.
  let packing = Packing()

  public init(model: some RestorationModel) { self.model = model }

  public init(_ model: any RestorationModel) { self.model = model }

  /// Restores the picture in the file `input` into the file `output`, which appears whole or not at all.
  ///
  /// - Parameters:
  ///   - format: the output's format; nil is what its extension names. NPY holds float32 [H, W, C], not clamped.
  ///   - progress: called, on the thread that works, after every tile.
  /// - Throws: `ImageError`, `MemoryError`, `CancellationError`.
  @discardableResult
  public func run(
    input: String, output: String, format: ImageFormat? = nil, options: RestoreOptions = RestoreOptions(),
    writer: ImageWriter.Options = ImageWriter.Options(), limits: ImageLimits = ImageLimits(),
    progress: @escaping Progress = { _ in }
  ) async throws -> RestoreResult {
    let start = Date()
    guard let format = format ?? ImageFormat(path: output) else {
      throw ImageError.cannotCreate(
        path: output, reason: "the extension names no format; use .png, .jpg or .npy")
    }
    let source = try ImageReader.read(input, limits: limits)
    for note in source.notes { progress(.note(note)) }
    let restored: ImageBuffer
    if format == .npy {
      let values = try await runFloats(source, options: options, progress: progress)
      try NPY.write(
        values, shape: [source.height * model.scale, source.width * model.scale, source.channels], to: output)
      restored = ImageBuffer(
        floats: values, width: source.width * model.scale, height: source.height * model.scale,
        colourModel: source.colourModel, hasAlpha: source.hasAlpha, depth: source.depth)
    } else {
      restored = try await run(source, options: options, progress: progress)
      for note in try ImageWriter.write(restored, to: output, format: format, options: writer) {
        progress(.note(note))
      }
    }
    return RestoreResult(source: source, restored: restored, seconds: Date().timeIntervalSince(start))
  }

  /// The restored picture, at the depth and with the metadata of `image`.
  ///
  /// - Throws: `MemoryError`, `CancellationError`.
  public func run(
    _ image: ImageBuffer, options: RestoreOptions = RestoreOptions(), progress: @escaping Progress = { _ in }
  ) async throws -> ImageBuffer {
    let canvas = try await paint(image, image.depth == 16 ? .sixteen : .eight, options, progress)
    var restored = canvas.image()
    (restored.iccProfile, restored.exif) = (image.iccProfile, image.exif)
    (restored.sourceFormat, restored.sourceDepth) = (image.sourceFormat, image.sourceDepth)
    return restored
  }

  /// The restored samples as the model gives them, not clamped: row-major [H scale, W scale, channels of `image`].
  public func runFloats(
    _ image: ImageBuffer, options: RestoreOptions = RestoreOptions(), progress: @escaping Progress = { _ in }
  ) async throws -> [Float] {
    try await paint(image, .float, options, progress).floats()
  }

  /// The restored picture [1, H scale, W scale, 3] of `image` [1, H, W, 3] in 0...1; neither is clamped.
  public func run(
    _ image: Tensor, options: RestoreOptions = RestoreOptions(), progress: @escaping Progress = { _ in }
  ) async throws -> Tensor {
    precondition(
      image.rank == 4 && image.shape[0] == 1 && image.shape[3] == 3 && image.elementCount > 0,
      "RestorePipeline: \(image.shape) is not [1, H, W, 3]")
    let source = RestoreSource(.tensor(image), alignment: model.sizeMultiple)
    let canvas = try canvas(for: source, .rgb, hasAlpha: false, .float)
    var run = PipelineRun(self, options, passes: 1, progress)
    try await run.paint(source, on: canvas, .colours)
    return Tensor(canvas.floats(), shape: [1, canvas.height, canvas.width, 3])
  }

  /// All passes over a picture: its colours, and its alpha where the model changes the size. (A model that keeps the
  /// size takes away noise or artefacts, which a mask does not have: there alpha stays as it is, bit for bit.)
  private func paint(
    _ image: ImageBuffer, _ depth: RestoreCanvas.Depth, _ options: RestoreOptions,
    _ progress: @escaping Progress
  ) async throws -> RestoreCanvas {
    let colours = RestoreSource(.colours(image), alignment: model.sizeMultiple)
    let canvas = try canvas(for: colours, image.colourModel, hasAlpha: image.hasAlpha, depth)
    let constantAlpha = image.hasAlpha ? image.constantAlpha : nil
    let restoresAlpha = image.hasAlpha && constantAlpha == nil && model.scale > 1
    var run = PipelineRun(self, options, passes: restoresAlpha ? 2 : 1, progress)
    try await run.paint(colours, on: canvas, .colours)
    if restoresAlpha {
      try await run.paint(RestoreSource(.alpha(image), alignment: model.sizeMultiple), on: canvas, .alpha)
    } else if let constantAlpha {
      canvas.fillAlpha(constantAlpha)
    } else if image.hasAlpha {
      canvas.copyAlpha(of: image)
    }
    return canvas
  }

  private func canvas(
    for source: RestoreSource, _ colourModel: ImageBuffer.ColourModel, hasAlpha: Bool,
    _ depth: RestoreCanvas.Depth
  ) throws -> RestoreCanvas {
    let (width, height) = (source.width * model.scale, source.height * model.scale)
    // The canvas, and the picture that is made of it.
    let bytesPerPixel = (colourModel.rawValue + (hasAlpha ? 1 : 0)) * RestoreCanvas.byteCount(depth)
    try preflight(2 * width * height * bytesPerPixel)
    return RestoreCanvas(
      width: width, height: height, colourModel: colourModel, hasAlpha: hasAlpha, depth: depth)
  }
}

/// Whether a model's packed weights have been made; shared by the copies of a pipeline.
final class Packing: Sendable {
  private let done = Atomic<Bool>(false)

  var isDone: Bool {
    get { done.load(ordering: .relaxed) }
    set { done.store(newValue, ordering: .relaxed) }
  }
}

/// What came of one file.
public struct RestoreResult: Sendable {
  public let source: ImageBuffer
  /// As it was written; where floats were written, rounded to the depth of the source.
  public let restored: ImageBuffer
  public let seconds: Double
}
