import BraidTensor

/// The eight flips and quarter turns of a picture.
enum SelfEnsemble {
  static let count = 8

  /// Picture [1, H, W, 3] as variant `index`: mirrored (bits 0 and 1), then its axes exchanged (bit 2).
  static func transform(_ image: Tensor, _ index: Int) -> Tensor {
    var result = image
    if index & 1 != 0 { result = result.flipped(axis: 1) }
    if index & 2 != 0 { result = result.flipped(axis: 2) }
    return index & 4 != 0 ? result.transposed(1, 2).contiguous() : result
  }

  /// The picture that `transform` made variant `index` of.
  static func invert(_ image: Tensor, _ index: Int) -> Tensor {
    var result = index & 4 != 0 ? image.transposed(1, 2).contiguous() : image
    if index & 2 != 0 { result = result.flipped(axis: 2) }
    if index & 1 != 0 { result = result.flipped(axis: 1) }
    return result
  }

  /// The mean of `body`'s results for the eight variants, each turned back.
  static func average(of image: Tensor, _ body: (Tensor) throws -> Tensor) rethrows -> Tensor {
    var sum: Tensor?
    for index in 0..<count {
      let result = invert(try body(transform(image, index)), index)
      sum = sum.map { $0 + result } ?? result
    }
    return sum! * (1 / Float(count))
  }
}
