/// Pictures next to each other in one, for comparisons.
public enum SideBySide {
  /// The pictures from left to right at 8 bits with a white gap between; smaller ones are enlarged by whole factors
  /// (pixels repeated) where they fit, and centred.
  public static func join(_ images: [ImageBuffer], gap: Int = 8) -> ImageBuffer {
    precondition(!images.isEmpty && gap >= 0, "SideBySide: nothing to join")
    let opaque = images.map { $0.opaqueEightBit() }
    let tallest = opaque.map(\.height).max()!
    let factors = opaque.map { max(1, tallest / $0.height) }
    let widths = zip(opaque, factors).map { $0.width * $1 }
    let width = widths.reduce(0, +) + gap * (images.count - 1)
    var result = [UInt8](repeating: 255, count: width * tallest * 3)
    var left = 0
    for (index, image) in opaque.enumerated() {
      guard case .eight(let samples) = image.samples else { continue }
      let factor = factors[index]
      let top = (tallest - image.height * factor) / 2
      let (channels, green) = (image.channels, image.colourModel == .rgb ? 1 : 0)
      for y in 0..<image.height * factor {
        for x in 0..<image.width * factor {
          let from = (y / factor * image.width + x / factor) * channels
          let to = ((top + y) * width + left + x) * 3
          result[to] = samples[from]
          result[to + 1] = samples[from + green]
          result[to + 2] = samples[from + 2 * green]
        }
      }
      left += widths[index] + gap
    }
    return ImageBuffer(width: width, height: tallest, colourModel: .rgb, samples: .eight(result))
  }
}
