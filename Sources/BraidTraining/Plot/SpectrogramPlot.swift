import BraidFiles

/// A picture of spectrograms side by side: time to the right, frequency upwards, levels in dB as colours of one
/// scale.
public struct SpectrogramPlot: Sendable {
  /// One spectrogram.
  public struct Panel: Sendable {
    public var title: String
    /// Levels in dB: columns from the first moment to the last, rows from 0 Hz upwards.
    public var levels: [[Float]]

    public init(title: String, levels: [[Float]]) {
      (self.title, self.levels) = (title, levels)
    }
  }

  /// Pixels of a panel, each with a level of its own.
  public static let columns = 400
  public static let rows = 256
  /// Decibels from the strongest level to the darkest colour.
  private static let range: Float = 90

  public var panels: [Panel]
  /// Seconds from the left to the right end of a panel.
  public var seconds: Double
  /// The frequency at the top, in Hz.
  public var topFrequency: Double

  /// - Precondition: every panel has `columns` columns of `rows` rows.
  public init(panels: [Panel], seconds: Double, topFrequency: Double) {
    precondition(
      panels.allSatisfy { $0.levels.count == Self.columns && $0.levels.allSatisfy { $0.count == Self.rows } },
      "SpectrogramPlot: panels of another size")
    (self.panels, self.seconds, self.topFrequency) = (panels, seconds, topFrequency)
  }

  /// Writes the picture as a PNG file, whole or not at all.
  /// - Throws: `FileFailure`.
  public func write(to path: String) throws {
    let file = try AtomicFile(path)
    try png().withUnsafeBytes { try file.write($0) }
    try file.commit()
  }

  private static let (left, gap, right, top, bottom) = (64, 28, 120, 40, 56)
  private static let ink = PlotCanvas.Colour(0x333333)

  /// The bytes of a PNG file.
  public func png() -> [UInt8] {
    let width = Self.left + panels.count * (Self.columns + Self.gap) - Self.gap + Self.right
    var canvas = PlotCanvas(width: width, height: Self.top + Self.rows + Self.bottom)
    // The strongest level, at a round mark.
    let strongest = panels.flatMap { $0.levels.flatMap { $0 } }.filter(\.isFinite).max() ?? 0
    let ceiling = (strongest / 10).rounded(.up) * 10
    for (index, panel) in panels.enumerated() {
      draw(panel, left: Self.left + index * (Self.columns + Self.gap), ceiling: ceiling, on: &canvas)
    }
    drawFrequencies(on: &canvas)
    drawScale(ceiling: ceiling, left: width - Self.right + 24, on: &canvas)
    return CompactPNG.encode(canvas.rgb, width: canvas.width, height: canvas.height)
  }

  private func draw(_ panel: Panel, left: Int, ceiling: Float, on canvas: inout PlotCanvas) {
    let bottom = Self.top + Self.rows
    canvas.text(panel.title, x: left, y: 14, Self.ink)
    for (column, levels) in panel.levels.enumerated() {
      for (row, level) in levels.enumerated() {
        let share = 1 - (ceiling - level) / Self.range
        canvas.fill(
          left + column..<left + column + 1, bottom - row - 1..<bottom - row, Self.colour(Double(share)))
      }
    }
    let ticks = Ticks([0, seconds], wanted: 5, padded: false)
    for value in ticks.values {
      let x = left + Int((ticks.fraction(value) * Double(Self.columns - 1)).rounded())
      canvas.fill(x..<x + 1, bottom..<bottom + 5, Self.ink)
      let label = ticks.label(value)
      canvas.text(label, x: x - PlotCanvas.textWidth(label, scale: 2) / 2, y: bottom + 10, Self.ink)
    }
    let middle = left + (Self.columns - PlotCanvas.textWidth("s", scale: 2)) / 2
    canvas.text("s", x: middle, y: bottom + 32, Self.ink)
  }

  private func drawFrequencies(on canvas: inout PlotCanvas) {
    let ticks = Ticks([0, topFrequency / 1000], wanted: 5, padded: false)
    for value in ticks.values {
      let y = Self.top + Self.rows - 1 - Int((ticks.fraction(value) * Double(Self.rows - 1)).rounded())
      canvas.fill(Self.left - 5..<Self.left, y..<y + 1, Self.ink)
      let label = ticks.label(value)
      canvas.text(
        label, x: Self.left - 10 - PlotCanvas.textWidth(label, scale: 2), y: y - 7, Self.ink)
    }
    canvas.text("kHz", x: 6, y: 14, Self.ink)
  }

  private func drawScale(ceiling: Float, left: Int, on canvas: inout PlotCanvas) {
    let bottom = Self.top + Self.rows
    for row in 0..<Self.rows {
      canvas.fill(
        left..<left + 16, bottom - row - 1..<bottom - row,
        Self.colour(Double(row) / Double(Self.rows - 1)))
    }
    for step in stride(from: 0, through: Self.range, by: 30) {
      let y = Self.top + Int((step / Self.range * Float(Self.rows - 1)).rounded())
      canvas.fill(left + 16..<left + 21, y..<y + 1, Self.ink)
      canvas.text(String(Int(ceiling - step)), x: left + 26, y: y - 7, Self.ink)
    }
    canvas.text("dB", x: left, y: 14, Self.ink)
  }

  /// From black by violet, red and orange to pale yellow, ever lighter: the colour of a share of the range.
  private static func colour(_ share: Double) -> PlotCanvas.Colour {
    let marks: [UInt32] = [
      0x000004, 0x1B0C41, 0x4A0C6B, 0x781C6D, 0xA52C60, 0xCF4446, 0xED6925, 0xFB9B06, 0xF7D13D, 0xFCFFA4,
    ]
    let place = share.isNaN ? 0 : min(max(share, 0), 1) * Double(marks.count - 1)
    let index = min(Int(place), marks.count - 2)
    func mixed(_ shift: UInt32) -> UInt32 {
      let (a, b) = (Double(marks[index] >> shift & 255), Double(marks[index + 1] >> shift & 255))
      return UInt32((a + (b - a) * (place - Double(index))).rounded()) << shift
    }
    return PlotCanvas.Colour(mixed(16) | mixed(8) | mixed(0))
  }
}
