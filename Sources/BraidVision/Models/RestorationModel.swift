import BraidNN
import BraidTensor

/// A network that restores an image.
public protocol RestorationModel: Sendable {
  /// The name of the architecture, as in the catalogue and in saved files.
  static var architecture: String { get }

  var parameters: ParameterStore { get }
  /// Output pixels per input pixel along each side.
  var scale: Int { get }
  /// The input's sides are padded to multiples of this.
  var sizeMultiple: Int { get }
  /// How far, in input pixels, an output pixel looks; nil where it depends on the whole map.
  var receptiveRadius: Int? { get }
  /// Bytes of peak memory per input pixel, about, for choosing a tile.
  var bytesPerPixel: Int { get }

  /// [B, H, W, 3] in 0...1, H and W multiples of `sizeMultiple`, to [B, H scale, W scale, 3], not clamped.
  func callAsFunction(_ image: Tensor) -> Tensor
}
