import Testing

@testable import BraidVision

@Suite struct ImageTensorTests {
  @Test(arguments: [1, 2, 3, 4], [8, 16])
  func picturesSurviveTheTensor(channels: Int, depth: Int) throws {
    let image = ImageBuffer.noise(width: 31, height: 22, channels: channels, depth: depth)
    let tensor = image.tensor()
    #expect(tensor.shape == [1, 22, 31, 3])
    #expect((image.alphaTensor() != nil) == image.hasAlpha)
    let back = ImageBuffer(
      tensor: tensor, alpha: image.alphaTensor(), colourModel: image.colourModel, depth: depth)
    #expect(back.samples == image.samples)
    #expect(back.channels == channels)
  }
}
