import BraidNN
import BraidTensor
import BraidVision
import Synchronization

/// The mean of the (2 radius + 1)² pixels around each, borders repeated, after an enlargement by `scale` that repeats
/// pixels.
struct BoxModel: RestorationModel {
  static let architecture = "box"
  let parameters = ParameterStore()
  var scale = 1
  var radius = 1
  var sizeMultiple = 1
  var bytesPerPixel = 48
  var receptiveRadius: Int? { radius }

  func callAsFunction(_ image: Tensor) -> Tensor {
    let (height, width) = (image.shape[1], image.shape[2])
    precondition(height.isMultiple(of: sizeMultiple) && width.isMultiple(of: sizeMultiple))
    let padded = image.paddedImage(
      top: radius, bottom: radius, left: radius, right: radius, mode: .replicate)
    var sum = Tensor.zeros(image.shape)
    for dy in 0...2 * radius {
      for dx in 0...2 * radius {
        sum = sum + padded.sliced(axis: 1, dy..<dy + height).sliced(axis: 2, dx..<dx + width)
      }
    }
    let side = Float(2 * radius + 1)
    return enlarged(sum * (1 / (side * side)), scale)
  }
}

/// Adds the mean of all it sees: tiles differ from the whole, unless they are kept in step.
struct GlobalModel: ExactlyTiledModel {
  static let architecture = "global"
  let parameters = ParameterStore()
  var scale = 1
  var sizeMultiple = 4
  var bytesPerPixel = 100
  var receptiveRadius: Int? { nil }

  func callAsFunction(_ image: Tensor) -> Tensor { image * 0.5 + image.mean() * 0.5 }

  func runExactly(image: Tensor, memoryBudget: Int, progress: (Double) throws -> Void) throws -> Tensor {
    try progress(0.5)
    return self(image)
  }
}

/// Gives values outside 0...1, and counts its calls.
final class OverdrivenModel: RestorationModel {
  static let architecture = "overdriven"
  let parameters = ParameterStore()
  let scale = 2
  let sizeMultiple = 8
  let receptiveRadius: Int? = 0
  let bytesPerPixel = 1000
  let calls = Atomic<Int>(0)

  func callAsFunction(_ image: Tensor) -> Tensor {
    calls.add(1, ordering: .relaxed)
    return enlarged(image * 3 - 1, 2)
  }
}

private func enlarged(_ image: Tensor, _ scale: Int) -> Tensor {
  let (height, width) = (image.shape[1], image.shape[2])
  return image.reshaped(1, height, 1, width, 1, 3).broadcast(to: [1, height, scale, width, scale, 3])
    .reshaped(1, height * scale, width * scale, 3)
}
