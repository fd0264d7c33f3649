import BraidTensor

extension Tensor {
  /// A map with zeros at the bottom and the right, so that squares of that side tile it.
  func padded(toMultipleOf side: Int) -> Tensor {
    let (bottom, right) = ((side - shape[1] % side) % side, (side - shape[2] % side) % side)
    return bottom + right == 0 ? self : paddedImage(bottom: bottom, right: right)
  }

  /// The upper left part of a map.
  func croppedImage(_ height: Int, _ width: Int) -> Tensor {
    sliced(axis: 1, 0..<height).sliced(axis: 2, 0..<width).contiguous()
  }
}

/// The windows of a map one by one, for references.
struct MapWindows {
  let height, width, window, shift: Int

  /// The pixels of each window, row by row.
  var pixels: [[Int]] {
    (0..<height / window).flatMap { row in
      (0..<width / window).map { column in
        (0..<window * window).map { i in
          let y = (row * window + i / window + shift) % height
          let x = (column * window + i % window + shift) % width
          return y * width + x
        }
      }
    }
  }

  /// A number for the side of the seams on which a pixel lies, as seen from the windows that hold them.
  func region(_ pixel: Int) -> Int {
    guard shift > 0 else { return 0 }
    return (pixel / width < shift ? 2 : 0) + (pixel % width < shift ? 1 : 0)
  }

  /// Attention of each window's pixels to the keys that `keys` names (nil: a vector of zeros) with their regions; scores
  /// between regions get -100. qkv [B, H, W, 3 C] to [B, H, W, C]; bias [heads, queries, keys].
  func attend(
    _ qkv: Tensor, heads: Int, bias: Tensor,
    keys: (_ pixels: [Int]) -> (pixels: [Int?], regions: [Int])
  ) -> Tensor {
    let (batch, channels) = (qkv.shape[0], qkv.shape[3] / 3)
    let d = channels / heads
    let flat = qkv.reshaped(batch, height * width, 3, heads, d)
    // One row of zeros behind the pixels.
    let rows = flat.padded(axis: 1, after: 1)
    func part(_ index: Int, _ pixels: [Int]) -> Tensor {
      rows.selected(axis: 2, index).indexSelected(axis: 1, Tensor(pixels.map(Int64.init))).permuted(
        0, 2, 1, 3)
    }
    var places = [Int64](repeating: 0, count: height * width)
    var outputs: [Tensor] = []
    for (number, pixels) in self.pixels.enumerated() {
      let (seen, regions) = keys(pixels)
      let others = seen.map { $0 ?? height * width }
      let mask = pixels.flatMap { pixel in
        regions.map { shift > 0 && $0 != region(pixel) ? -100 : 0 as Float }
      }
      let scores =
        matmul(part(0, pixels), part(1, others).transposed()) * (1 / Float(d).squareRoot()) + bias
        + Tensor(mask, shape: [pixels.count, others.count])
      outputs.append(matmul(scores.softmax(axis: -1), part(2, others)).permuted(0, 2, 1, 3))
      for (i, pixel) in pixels.enumerated() { places[pixel] = Int64(number * window * window + i) }
    }
    return Tensor.concatenated(outputs, axis: 1).indexSelected(axis: 1, Tensor(places))
      .reshaped(batch, height, width, channels)
  }
}
