import Foundation

/// A picture of metrics over steps: panels one below the other, each with axes, ticks, a legend and several curves.
public struct CurvePlot: Sendable {
  /// One curve. Points that are not finite (or not positive on a logarithmic axis) are left out.
  public struct Series: Sendable {
    public var name: String
    public var x: [Double]
    public var y: [Double]

    public init(name: String, x: [Double], y: [Double]) {
      precondition(x.count == y.count, "CurvePlot.Series: \(x.count) x for \(y.count) y")
      (self.name, self.x, self.y) = (name, x, y)
    }
  }

  /// One pair of axes.
  public struct Panel: Sendable {
    public var title: String
    public var series: [Series]
    /// Whether the vertical axis is logarithmic.
    public var isLogarithmic: Bool

    public init(title: String, series: [Series], isLogarithmic: Bool = false) {
      (self.title, self.series, self.isLogarithmic) = (title, series, isLogarithmic)
    }
  }

  public var panels: [Panel]
  /// What the horizontal axis counts.
  public var xLabel: String
  public var width: Int
  /// Pixels that each panel is high.
  public var panelHeight: Int

  public init(panels: [Panel], xLabel: String = "step", width: Int = 960, panelHeight: Int = 320) {
    self.panels = panels
    self.xLabel = xLabel
    self.width = max(width, 320)
    self.panelHeight = max(panelHeight, 200)
  }

  /// The bytes of a PNG file.
  public func png() -> [UInt8] {
    var canvas = PlotCanvas(width: width, height: panelHeight * max(1, panels.count))
    for (index, panel) in panels.enumerated() { draw(panel, top: index * panelHeight, on: &canvas) }
    return CompactPNG.encode(canvas.rgb, width: canvas.width, height: canvas.height)
  }

  private static let colours: [PlotCanvas.Colour] = [
    0x1F77B4, 0xE45756, 0x2CA02C, 0x9467BD, 0xFF9F0E, 0x17A2B8, 0x8C564B, 0xD65DB1,
  ].map { PlotCanvas.Colour($0) }
  private static let ink = PlotCanvas.Colour(0x333333)
  private static let grid = PlotCanvas.Colour(0xE3E6EA)

  private func draw(_ panel: Panel, top: Int, on canvas: inout PlotCanvas) {
    let curves = panel.series.map { points(of: $0, logarithmic: panel.isLogarithmic) }
    let all = curves.flatMap { $0 }
    let xTicks = Ticks(all.map(\.x), wanted: 7, padded: false)
    let yTicks = Ticks(all.map(\.y), wanted: 5, padded: true, logarithmic: panel.isLogarithmic)
    let labels = yTicks.values.map { yTicks.label($0) }
    let labelWidth = labels.map { PlotCanvas.textWidth($0, scale: 2) }.max() ?? 0
    let frameX = labelWidth + 24..<width - 20
    let frameY = top + 40..<top + panelHeight - 48
    func column(_ x: Double) -> Double {
      Double(frameX.lowerBound) + xTicks.fraction(x) * Double(frameX.count - 1)
    }
    func row(_ y: Double) -> Double {
      Double(frameY.upperBound - 1) - yTicks.fraction(y) * Double(frameY.count - 1)
    }

    canvas.text(panel.title, x: frameX.lowerBound, y: top + 14, CurvePlot.ink)
    for (value, label) in zip(yTicks.values, labels) {
      let y = Int(row(value).rounded())
      canvas.fill(frameX, y..<y + 1, CurvePlot.grid)
      canvas.text(
        label, x: frameX.lowerBound - 8 - PlotCanvas.textWidth(label, scale: 2), y: y - 7, CurvePlot.ink)
    }
    for value in xTicks.values {
      let x = Int(column(value).rounded())
      canvas.fill(x..<x + 1, frameY, CurvePlot.grid)
      let label = xTicks.label(value)
      let left = min(
        x - PlotCanvas.textWidth(label, scale: 2) / 2, width - 2 - PlotCanvas.textWidth(label, scale: 2))
      canvas.text(label, x: left, y: frameY.upperBound + 8, CurvePlot.ink)
    }
    let middle = (frameX.lowerBound + frameX.upperBound - PlotCanvas.textWidth(xLabel, scale: 2)) / 2
    canvas.text(xLabel, x: middle, y: frameY.upperBound + 28, CurvePlot.ink)
    canvas.fill(frameX, frameY.upperBound - 1..<frameY.upperBound, CurvePlot.ink)
    canvas.fill(frameX.lowerBound..<frameX.lowerBound + 1, frameY, CurvePlot.ink)

    var legend = frameX.upperBound
    for index in panel.series.indices.reversed() {
      let colour = CurvePlot.colours[index % CurvePlot.colours.count]
      let line = curves[index].map { (x: column($0.x), y: row($0.y)) }
      canvas.polyline(line, colour, thickness: 2, clip: (frameX, frameY))
      let name = panel.series[index].name
      legend -= PlotCanvas.textWidth(name, scale: 2)
      canvas.text(name, x: legend, y: top + 14, colour)
      legend -= 22
      canvas.fill(legend..<legend + 16, top + 20..<top + 23, colour)
      legend -= 16
    }
  }

  private func points(of series: Series, logarithmic: Bool) -> [(x: Double, y: Double)] {
    zip(series.x, series.y).compactMap { x, y in
      x.isFinite && y.isFinite && (!logarithmic || y > 0) ? (x, y) : nil
    }
  }
}
