import BraidTensor

extension ImageBuffer {
  /// The samples as floats in 0...1, row-major [height, width, channels].
  public func floats() -> [Float] {
    switch samples {
    case .eight(let values): values.map { Float($0) / 255 }
    case .sixteen(let values): values.map { Float($0) / 65535 }
    }
  }

  /// A picture of floats [height, width, channels], clamped to 0...1 and rounded half to even at `depth` 8 or 16.
  ///
  /// 1 or 3 colour channels, and alpha as a last one where `hasAlpha`. NaN becomes 0.
  public init(
    floats: [Float], width: Int, height: Int, colourModel: ColourModel, hasAlpha: Bool = false, depth: Int = 8
  ) {
    let samples: Samples =
      depth == 16
      ? .sixteen(floats.map { UInt16(ImageBuffer.scaled($0, 65535)) })
      : .eight(floats.map { UInt8(ImageBuffer.scaled($0, 255)) })
    self.init(width: width, height: height, colourModel: colourModel, hasAlpha: hasAlpha, samples: samples)
  }

  /// `value` in 0...1 on a scale to `top`, an integer. Adding 2^23 rounds to even without a call.
  @inline(__always)
  static func scaled(_ value: Float, _ top: Float) -> Int32 {
    let clamped = value > 0 ? (value < 1 ? value * top : top) : 0
    return Int32((clamped + 8_388_608) - 8_388_608)
  }

  /// The picture with 8 bits and without alpha; what was transparent shows white.
  public func opaqueEightBit() -> ImageBuffer {
    if depth == 8 && !hasAlpha { return self }
    let values = floats()
    let (all, colours) = (channels, colourChannels)
    var result = [UInt8](repeating: 0, count: width * height * colours)
    for pixel in 0..<width * height {
      let alpha = hasAlpha ? values[pixel * all + colours] : 1
      for c in 0..<colours {
        result[pixel * colours + c] = UInt8(
          ImageBuffer.scaled(values[pixel * all + c] * alpha + (1 - alpha), 255))
      }
    }
    var image = ImageBuffer(
      width: width, height: height, colourModel: colourModel, samples: .eight(result), iccProfile: iccProfile,
      exif: exif)
    image.sourceFormat = sourceFormat
    image.sourceDepth = sourceDepth
    image.notes = notes
    return image
  }
}
