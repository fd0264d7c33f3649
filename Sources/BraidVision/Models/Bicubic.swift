import BraidNN
import BraidTensor

/// Enlargement by MATLAB's bicubic: nothing learnt, the baseline that super-resolution is measured against.
public struct Bicubic: RestorationModel {
  public static let architecture = "bicubic"

  public let parameters = ParameterStore()
  public let scale: Int

  public init(scale: Int) { self.scale = scale }

  public var sizeMultiple: Int { 1 }
  public var receptiveRadius: Int? { 2 }
  public var bytesPerPixel: Int { 12 + 12 * scale * scale }

  public func callAsFunction(_ image: Tensor) -> Tensor {
    BicubicResize.resize(image, scale: Double(scale))
  }
}
