extension CPU {
  static func resample(_ x: Tensor, _ matrices: [Int: ResamplingMatrix]) -> Tensor {
    var rest = matrices
    var result = x
    let rows = x.rank - 3
    if let vertical = rest[rows], let horizontal = rest[rows + 1] {
      result = resampleImage(result, vertical, horizontal)
      rest[rows] = nil
      rest[rows + 1] = nil
    }
    for axis in rest.keys.sorted().reversed() { result = resample(result, axis: axis, rest[axis]!) }
    return result
  }

  /// One axis: [outer, inputs, inner] to [outer, outputs, inner].
  private static func resample(_ x: Tensor, axis: Int, _ matrix: ResamplingMatrix) -> Tensor {
    var dimensions = x.shape.dimensions
    dimensions[axis] = matrix.outputs
    let outer = dimensions[..<axis].reduce(1, *)
    let inner = dimensions[(axis + 1)...].reduce(1, *)
    let (inputs, outputs) = (matrix.inputs, matrix.outputs)
    let image = kernels.pointee.image
    let longest = matrix.longestRow
    return x.read { x in
      Tensor.build(Shape(dimensions)) { y in
        matrix.starts.withUnsafeBufferPointer { starts in
          matrix.offsets.withUnsafeBufferPointer { offsets in
            matrix.weights.withUnsafeBufferPointer { weights in
              guard outer * outputs * inner > 0 else { return }
              if inner < 64 {
                parallelRanges(outer, minimum: Swift.max(1, 16_384 / (outputs * inner))) { range in
                  for o in range {
                    image.resample(
                      x + o * inputs * inner, starts.baseAddress, offsets.baseAddress, weights.baseAddress,
                      outputs, inner, y + o * outputs * inner)
                  }
                }
                return
              }
              parallelRanges(outer * outputs, minimum: Swift.max(1, 16_384 / inner)) { range in
                withUnsafeTemporaryAllocation(of: UnsafePointer<Float>?.self, capacity: longest + 1) { taps in
                  for row in range {
                    let (o, i) = row.quotientAndRemainder(dividingBy: outputs)
                    let (begin, end) = (Int(offsets[i]), Int(offsets[i + 1]))
                    for t in 0..<end - begin {
                      taps[t] = x + (o * inputs + Int(starts[i]) + t) * inner
                    }
                    image.blend(
                      taps.baseAddress, weights.baseAddress.map { $0 + begin }, end - begin, y + row * inner,
                      inner)
                  }
                }
              }
            }
          }
        }
      }
    }
  }

  /// Maps [.., H, W, C] to [.., H', W', C]. Rows are resampled along W as the window along H needs them and kept while
  /// it does, so that the map is read and written once.
  private static func resampleImage(
    _ x: Tensor, _ vertical: ResamplingMatrix, _ horizontal: ResamplingMatrix
  ) -> Tensor {
    var dimensions = x.shape.dimensions
    let channels = dimensions[x.rank - 1]
    let images = dimensions[..<(x.rank - 3)].reduce(1, *)
    dimensions[x.rank - 3] = vertical.outputs
    dimensions[x.rank - 2] = horizontal.outputs
    let rowLength = horizontal.outputs * channels
    let inputRow = horizontal.inputs * channels
    let (height, newHeight) = (vertical.inputs, vertical.outputs)
    let image = kernels.pointee.image
    let slots = Swift.max(1, vertical.longestRow)
    let bands = Swift.max(1, Swift.min(newHeight / 16, 4 * ThreadPool.threads / Swift.max(1, images)))
    return x.read { x in
      Tensor.build(Shape(dimensions)) { y in
        guard images * newHeight * rowLength > 0 else { return }
        parallelRanges(images * bands, minimum: Swift.max(1, 16_384 * bands / (newHeight * rowLength))) {
          tasks in
          withUnsafeTemporaryAllocation(of: Float.self, capacity: slots * rowLength) { ring in
            withUnsafeTemporaryAllocation(of: UnsafePointer<Float>?.self, capacity: slots) { taps in
              var held = [Int](repeating: -1, count: slots)
              for task in tasks {
                let (picture, band) = task.quotientAndRemainder(dividingBy: bands)
                for slot in 0..<slots { held[slot] = -1 }
                for i in newHeight * band / bands..<newHeight * (band + 1) / bands {
                  let begin = Int(vertical.offsets[i])
                  let count = Int(vertical.offsets[i + 1]) - begin
                  for t in 0..<count {
                    let row = Int(vertical.starts[i]) + t
                    let slot = row % slots
                    let line = ring.baseAddress! + slot * rowLength
                    if held[slot] != row {
                      image.resample(
                        x + (picture * height + row) * inputRow, horizontal.starts, horizontal.offsets,
                        horizontal.weights, horizontal.outputs, channels, line)
                      held[slot] = row
                    }
                    taps[t] = UnsafePointer(line)
                  }
                  vertical.weights.withUnsafeBufferPointer {
                    image.blend(
                      taps.baseAddress, $0.baseAddress.map { $0 + begin }, count,
                      y + (picture * newHeight + i) * rowLength, rowLength)
                  }
                }
              }
            }
          }
        }
      }
    }
  }
}
