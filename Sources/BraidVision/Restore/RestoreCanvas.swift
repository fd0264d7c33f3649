import BraidTensor

/// The picture that tiles are put into, at its final depth: no float copy of the whole is held unless floats are what
/// is asked for.
///
/// Rows are stored from several threads, each pixel once a pass.
final class RestoreCanvas: @unchecked Sendable {
  /// What is kept of each sample.
  enum Depth {
    case eight
    case sixteen
    /// As the model gave it, not clamped.
    case float
  }
  /// Which channels a pass fills.
  enum Pass: Sendable {
    case colours
    case alpha
  }

  let width: Int
  let height: Int
  let colourModel: ImageBuffer.ColourModel
  let hasAlpha: Bool
  let channels: Int
  private let depth: Depth
  private let memory: UnsafeMutableRawBufferPointer

  init(width: Int, height: Int, colourModel: ImageBuffer.ColourModel, hasAlpha: Bool, depth: Depth) {
    self.width = width
    self.height = height
    self.colourModel = colourModel
    self.hasAlpha = hasAlpha
    self.depth = depth
    channels = colourModel.rawValue + (hasAlpha ? 1 : 0)
    let size = width * height * channels * Self.byteCount(depth)
    memory = .allocate(byteCount: size, alignment: 64)
  }

  deinit { memory.deallocate() }

  static func byteCount(_ depth: Depth) -> Int {
    switch depth {
    case .eight: 1
    case .sixteen: 2
    case .float: 4
    }
  }

  /// Stores RGB floats for the pixels `columns` of row `y`; what lies outside the picture is left out.
  func store(_ values: UnsafePointer<Float>, row y: Int, columns: Range<Int>, pass: Pass) {
    guard y < height else { return }
    let columns = columns.clamped(to: 0..<width)
    switch depth {
    case .eight: store(values, y, columns, pass, as: UInt8.self) { UInt8(ImageBuffer.scaled($0, 255)) }
    case .sixteen: store(values, y, columns, pass, as: UInt16.self) { UInt16(ImageBuffer.scaled($0, 65535)) }
    case .float: store(values, y, columns, pass, as: Float.self) { $0 }
    }
  }

  @inline(__always)
  private func store<Sample>(
    _ values: UnsafePointer<Float>, _ y: Int, _ columns: Range<Int>, _ pass: Pass, as type: Sample.Type,
    _ encode: (Float) -> Sample
  ) {
    let target = memory.baseAddress!.assumingMemoryBound(to: Sample.self) + y * width * channels
    if pass == .colours && colourModel == .rgb {
      for (index, x) in columns.enumerated() {
        for c in 0..<3 { target[x * channels + c] = encode(values[3 * index + c]) }
      }
    } else {
      let channel = pass == .colours ? 0 : channels - 1
      for (index, x) in columns.enumerated() {
        let mean = (values[3 * index] + values[3 * index + 1] + values[3 * index + 2]) / 3
        target[x * channels + channel] = encode(mean)
      }
    }
  }

  /// Sets alpha from a picture of the same size at the same depth (as floats where floats are kept).
  func copyAlpha(of image: ImageBuffer) {
    precondition(image.width == width && image.height == height && image.hasAlpha && hasAlpha)
    for y in 0..<height { fillAlpha(row: y) { image.alpha(at: y * self.width + $0) } }
  }

  /// Sets alpha to the one value that it has all over a picture.
  func fillAlpha(_ value: Float) {
    for y in 0..<height { fillAlpha(row: y) { _ in value } }
  }

  private func fillAlpha(row y: Int, _ value: (Int) -> Float) {
    let first = y * width * channels + channels - 1
    let base = memory.baseAddress!
    for x in 0..<width {
      let index = first + x * channels
      switch depth {
      case .eight: base.assumingMemoryBound(to: UInt8.self)[index] = UInt8(ImageBuffer.scaled(value(x), 255))
      case .sixteen:
        base.assumingMemoryBound(to: UInt16.self)[index] = UInt16(ImageBuffer.scaled(value(x), 65535))
      case .float: base.assumingMemoryBound(to: Float.self)[index] = value(x)
      }
    }
  }

  /// The finished picture; the canvas keeps 8 or 16 bits.
  func image() -> ImageBuffer {
    let samples: ImageBuffer.Samples =
      depth == .sixteen ? .sixteen(Array(memory.bindMemory(to: UInt16.self))) : .eight(Array(memory))
    return ImageBuffer(
      width: width, height: height, colourModel: colourModel, hasAlpha: hasAlpha, samples: samples)
  }

  /// The finished floats, row-major [height, width, channels]; the canvas keeps floats.
  func floats() -> [Float] { Array(memory.bindMemory(to: Float.self)) }
}

extension ImageBuffer {
  /// Alpha in 0...1 of the pixel at `index`; the picture has alpha.
  @inline(__always)
  func alpha(at index: Int) -> Float {
    switch samples {
    case .eight(let values): Float(values[index * channels + channels - 1]) / 255
    case .sixteen(let values): Float(values[index * channels + channels - 1]) / 65535
    }
  }

  /// The one value that alpha has all over the picture, or nil where it varies.
  var constantAlpha: Float? {
    let first = alpha(at: 0)
    return (1..<max(1, width * height)).allSatisfy { alpha(at: $0) == first } ? first : nil
  }
}
