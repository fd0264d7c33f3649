import BraidTensor

/// One way in which a clean picture is spoilt, with the range that its strength is drawn from.
///
/// In a configuration: `{"kind": "noise", "sigma": [5, 50]}`, `{"kind": "jpeg", "quality": [30, 95]}`,
/// `{"kind": "blur", "sigma": [0.2, 2]}`, `{"kind": "downscale", "factor": 2}`; a single number stands for a
/// range of one. `downscale` rounds to 8 bits as a file would hold it unless `"round": false` is given.
public enum Degradation: Sendable, Equatable {
  /// Gaussian noise on each sample; the standard deviation counts on a scale of 255. Neither clamped nor rounded.
  case noise(sigma: ClosedRange<Float>)
  /// Coding as JPEG (4:2:0, as libjpeg does by default) and decoding; clamps and rounds to 8 bits.
  case jpeg(quality: ClosedRange<Int>)
  /// A Gaussian blur; the standard deviation counts in pixels.
  case blur(sigma: ClosedRange<Float>)
  /// MATLAB's antialiased bicubic at 1 / factor; `round` clamps and rounds to 8 bits.
  case downscale(factor: Int, round: Bool = true)

  /// The spoilt picture of a clean one, [height, width, channels] in 0...1; draws from `generator`.
  ///
  /// Throws `ImageError` where the JPEG coder has no memory.
  public func apply(to image: Tensor, using generator: inout Philox) throws -> Tensor {
    precondition(image.rank == 3, "Degradation: \(image.shape) is not [H, W, C]")
    switch self {
    case .noise(let sigma):
      let strength = generator.uniform(sigma) / 255
      let noise = Tensor.normal(image.shape, standardDeviation: strength, using: &generator)
      let count = image.elementCount
      noise.overwrite(as: Float.self) { noise in
        image.read { clean in
          for i in 0..<count { noise[i] += clean[i] }
        }
      }
      return noise
    case .jpeg(let range):
      let quality = range.lowerBound + generator.integer(range.count)
      return try Degradation.throughJPEG(image, quality: quality)
    case .blur(let sigma):
      return GaussianBlur.blur(image, sigma: Double(generator.uniform(sigma)))
    case .downscale(let factor, let round):
      let small = BicubicResize.resize(image, scale: 1 / Double(factor))
      return round ? Degradation.roundedToEightBits(small) : small
    }
  }
}

extension Degradation {
  /// The picture after each of `degradations` in order; the same seed gives the same result on any number of threads.
  public static func apply(
    _ degradations: [Degradation], to image: Tensor, using generator: inout Philox
  ) throws -> Tensor {
    try degradations.reduce(image) { try $1.apply(to: $0, using: &generator) }
  }

  /// The picture's size is divided by this in all.
  public static func scale(of degradations: [Degradation]) -> Int {
    degradations.reduce(1) { product, degradation in
      if case .downscale(let factor, _) = degradation { product * factor } else { product }
    }
  }

  /// The picture as an 8-bit file would hold it, back in 0...1.
  static func roundedToEightBits(_ image: Tensor) -> Tensor {
    Tensor.build(image.shape) { out in
      image.read { values in
        for i in 0..<image.elementCount { out[i] = Float(ImageBuffer.scaled(values[i], 255)) / 255 }
      }
    }
  }

  private static func throughJPEG(_ image: Tensor, quality: Int) throws -> Tensor {
    let channels = image.shape[2]
    precondition(
      channels == 1 || channels == 3, "Degradation.jpeg: \(image.shape) has neither 1 nor 3 channels")
    let buffer = ImageBuffer(
      floats: image.floats, width: image.shape[1], height: image.shape[0],
      colourModel: channels == 3 ? .rgb : .grey)
    let bytes = try ImageWriter.encode(
      buffer, as: .jpeg, options: ImageWriter.Options(jpegQuality: quality), fullColour: false
    ).bytes
    return Tensor(try ImageReader.read(bytes: bytes).floats(), shape: image.shape)
  }
}
