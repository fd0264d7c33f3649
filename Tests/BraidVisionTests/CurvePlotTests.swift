import BraidTraining
import Foundation
import Testing

@testable import BraidVision

@Suite struct CurvePlotTests {
  private func decoded(_ plot: CurvePlot) throws -> ImageBuffer {
    try ImageReader.read(bytes: plot.png())
  }

  @Test func drawsAReadablePNG() throws {
    let steps = (0..<400).map { Double($0) * 100 }
    let loss = steps.map { 0.02 + 0.3 * exp(-$0 / 4000) + 0.004 * sin($0) }
    let checks = stride(from: 0.0, through: 40000, by: 2000).map { $0 }
    let plot = CurvePlot(panels: [
      CurvePlot.Panel(
        title: "loss",
        series: [
          .init(name: "train", x: steps, y: loss), .init(name: "mean", x: steps, y: loss.map { $0 * 0.9 }),
        ],
        isLogarithmic: true),
      CurvePlot.Panel(
        title: "PSNR [dB]",
        series: [.init(name: "ema", x: checks, y: checks.map { 30 - 6 * exp(-$0 / 6000) })]),
    ])
    let image = try decoded(plot)
    #expect((image.width, image.height, image.channels) == (960, 640, 3))
    // The curve's own colour is there, and most of the picture is white.
    guard case .eight(let samples) = image.samples else { return }
    let pixels = stride(from: 0, to: samples.count, by: 3).map { Array(samples[$0..<$0 + 3]) }
    #expect(pixels.count { $0 == [0x1F, 0x77, 0xB4] } > 500)
    #expect(pixels.count { $0 == [255, 255, 255] } > pixels.count * 3 / 4)
    #expect(plot.png().count < 200_000)
    if let path = ProcessInfo.processInfo.environment["BRAID_PLOT_SAMPLE"] {
      try ImageWriter.write(image, to: path)
    }
  }

  @Test(arguments: [
    [], [1.0], [3, 3, 3], [.nan, .infinity, 1], [0, -1, 5], [1e-30, 1e30], [-1e300, 1e300],
  ])
  func survivesOddData(values: [Double]) throws {
    for logarithmic in [false, true] {
      let series = CurvePlot.Series(name: "x", x: values.indices.map(Double.init), y: values)
      let panel = CurvePlot.Panel(title: "odd \u{1F642}", series: [series], isLogarithmic: logarithmic)
      #expect(try decoded(CurvePlot(panels: [panel])).height == 320)
    }
    #expect(try decoded(CurvePlot(panels: [])).height == 320)
  }
}
