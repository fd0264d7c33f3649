import BraidTensor

/// A picture from which tiles are cut, as if it were padded at the bottom and on the right.
///
/// Padding mirrors the picture where it is large enough for that (as the published code does), and repeats its last
/// pixel elsewhere. Only the tiles are ever held as floats.
struct RestoreSource {
  enum Content {
    /// The colours of a picture; grey stands in all three channels.
    case colours(ImageBuffer)
    /// The alpha channel of a picture, in all three channels.
    case alpha(ImageBuffer)
    /// Floats [1, H, W, 3].
    case tensor(Tensor)
  }

  let content: Content
  /// Of the picture itself.
  let height: Int
  let width: Int
  /// Of the padded picture, multiples of the model's alignment.
  let paddedHeight: Int
  let paddedWidth: Int

  init(_ content: Content, alignment: Int) {
    self.content = content
    switch content {
    case .colours(let image), .alpha(let image): (height, width) = (image.height, image.width)
    case .tensor(let tensor): (height, width) = (tensor.shape[1], tensor.shape[2])
    }
    paddedHeight = (height + alignment - 1) / alignment * alignment
    paddedWidth = (width + alignment - 1) / alignment * alignment
  }

  /// The pixel that stands at `index` of a padded axis.
  private static func inside(_ index: Int, _ size: Int, _ paddedSize: Int) -> Int {
    if index < size { return index }
    return paddedSize - size < size ? 2 * (size - 1) - index : size - 1
  }

  /// The floats [1, h, w, 3] of a part of the padded picture.
  func tile(rows: Range<Int>, columns: Range<Int>) -> Tensor {
    let rowMap = rows.map { Self.inside($0, height, paddedHeight) }
    let columnMap = columns.map { Self.inside($0, width, paddedWidth) }
    return Tensor.build([1, rows.count, columns.count, 3]) { out in
      switch content {
      case .colours(let image):
        let green = image.colourModel == .rgb ? 1 : 0
        gather(image, (0, green, 2 * green), rowMap, columnMap, out)
      case .alpha(let image):
        let channel = image.channels - 1
        gather(image, (channel, channel, channel), rowMap, columnMap, out)
      case .tensor(let tensor):
        tensor.read { gather($0, 3, (0, 1, 2), 1, rowMap, columnMap, out) }
      }
    }
  }

  private func gather(
    _ image: ImageBuffer, _ channels: (Int, Int, Int), _ rows: [Int], _ columns: [Int],
    _ out: UnsafeMutablePointer<Float>
  ) {
    switch image.samples {
    case .eight(let values):
      values.withUnsafeBufferPointer {
        gather($0.baseAddress!, image.channels, channels, 255, rows, columns, out)
      }
    case .sixteen(let values):
      values.withUnsafeBufferPointer {
        gather($0.baseAddress!, image.channels, channels, 65535, rows, columns, out)
      }
    }
  }

  private func gather<Sample: RestoreSample>(
    _ source: UnsafePointer<Sample>, _ step: Int, _ channels: (Int, Int, Int), _ top: Float,
    _ rows: [Int], _ columns: [Int], _ out: UnsafeMutablePointer<Float>
  ) {
    parallelRanges(rows.count, minimum: max(1, 32_768 / columns.count)) { range in
      columns.withUnsafeBufferPointer { columns in
        for y in range {
          let line = source + rows[y] * width * step
          let target = out + y * columns.count * 3
          for x in 0..<columns.count {
            let pixel = line + columns[x] * step
            target[3 * x] = pixel[channels.0].asFloat / top
            target[3 * x + 1] = pixel[channels.1].asFloat / top
            target[3 * x + 2] = pixel[channels.2].asFloat / top
          }
        }
      }
    }
  }
}

/// A sample that tiles are read from.
protocol RestoreSample {
  var asFloat: Float { get }
}
extension UInt8: RestoreSample { var asFloat: Float { Float(self) } }
extension UInt16: RestoreSample { var asFloat: Float { Float(self) } }
extension Float: RestoreSample { var asFloat: Float { self } }
