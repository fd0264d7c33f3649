/// An RGB drawing surface with anti-aliased lines and dotted text.
struct PlotCanvas {
  struct Colour: Equatable {
    var red: UInt8, green: UInt8, blue: UInt8
    init(_ hex: UInt32) {
      red = UInt8(truncatingIfNeeded: hex >> 16)
      green = UInt8(truncatingIfNeeded: hex >> 8)
      blue = UInt8(truncatingIfNeeded: hex)
    }
  }

  let width: Int, height: Int
  private(set) var rgb: [UInt8]

  init(width: Int, height: Int) {
    (self.width, self.height) = (width, height)
    rgb = [UInt8](repeating: 255, count: width * height * 3)
  }

  /// Mixes `colour` into a pixel; nothing outside the surface.
  mutating func blend(_ x: Int, _ y: Int, _ colour: Colour, _ coverage: Double) {
    guard x >= 0, y >= 0, x < width, y < height, coverage > 0 else { return }
    let at = (y * width + x) * 3
    let share = min(coverage, 1)
    func mix(_ old: UInt8, _ new: UInt8) -> UInt8 {
      UInt8((Double(old) + (Double(new) - Double(old)) * share).rounded())
    }
    rgb[at] = mix(rgb[at], colour.red)
    rgb[at + 1] = mix(rgb[at + 1], colour.green)
    rgb[at + 2] = mix(rgb[at + 2], colour.blue)
  }

  mutating func fill(_ x: Range<Int>, _ y: Range<Int>, _ colour: Colour) {
    for row in y { for column in x { blend(column, row, colour, 1) } }
  }

  /// A chain of segments of the given thickness, kept inside `clip`. Overlaps of one chain are not drawn twice.
  mutating func polyline(
    _ points: [(x: Double, y: Double)], _ colour: Colour, thickness: Double,
    clip: (x: Range<Int>, y: Range<Int>)
  ) {
    var coverage: [Int: Double] = [:]
    let reach = thickness / 2 + 1
    func cover(_ a: (x: Double, y: Double), _ b: (x: Double, y: Double)) {
      let (dx, dy) = (b.x - a.x, b.y - a.y)
      let squared = dx * dx + dy * dy
      let left = max(clip.x.lowerBound, Int((min(a.x, b.x) - reach).rounded(.down)))
      let right = min(clip.x.upperBound - 1, Int((max(a.x, b.x) + reach).rounded(.up)))
      guard left <= right else { return }
      for x in left...right {
        // Only the rows near the segment at this column: tall steps stay cheap.
        var (low, high) = (min(a.y, b.y), max(a.y, b.y))
        if abs(dx) > 1e-9 {
          let slope = dy / dx
          let (p, q) = (
            a.y + slope * (min(max(Double(x) - reach, min(a.x, b.x)), max(a.x, b.x)) - a.x),
            a.y + slope * (min(max(Double(x) + reach, min(a.x, b.x)), max(a.x, b.x)) - a.x)
          )
          (low, high) = (min(p, q), max(p, q))
        }
        let top = max(clip.y.lowerBound, Int((low - reach).rounded(.down)))
        let bottom = min(clip.y.upperBound - 1, Int((high + reach).rounded(.up)))
        guard top <= bottom else { continue }
        for y in top...bottom {
          let (px, py) = (Double(x) - a.x, Double(y) - a.y)
          let along = squared == 0 ? 0 : min(max((px * dx + py * dy) / squared, 0), 1)
          let (ex, ey) = (px - along * dx, py - along * dy)
          let share = thickness / 2 + 0.5 - (ex * ex + ey * ey).squareRoot()
          if share > 0 { coverage[y * width + x] = max(coverage[y * width + x] ?? 0, min(share, 1)) }
        }
      }
    }
    if points.count == 1 { cover(points[0], points[0]) }
    for (a, b) in zip(points, points.dropFirst()) { cover(a, b) }
    for (pixel, share) in coverage { blend(pixel % width, pixel / width, colour, share) }
  }

  static func textWidth(_ text: String, scale: Int) -> Int {
    max(0, text.count * (PlotFont.width + 1) - 1) * scale
  }

  /// Text whose upper left corner is (x, y).
  mutating func text(_ text: String, x: Int, y: Int, _ colour: Colour, scale: Int = 2) {
    var left = x
    for character in text {
      for (row, bits) in PlotFont.rows(character).enumerated() {
        for column in 0..<PlotFont.width where bits >> UInt8(PlotFont.width - 1 - column) & 1 == 1 {
          let (px, py) = (left + column * scale, y + row * scale)
          fill(px..<px + scale, py..<py + scale, colour)
        }
      }
      left += (PlotFont.width + 1) * scale
    }
  }
}
