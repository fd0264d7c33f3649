import BraidTensor
import Glibc

/// A picture that Braid draws itself, for demonstrations: an evening at a mountain lake, with smooth sky, fine texture,
/// hard edges and small lettering. The same size always gives the same picture.
public enum SampleScene {
  /// The scene at the given size; 384 x 256 is what it was composed for.
  public static func render(width: Int = 384, height: Int = 256) -> ImageBuffer {
    precondition(width > 0 && height > 0, "SampleScene: \(width) x \(height)")
    let grid = 3
    var bytes = [UInt8](repeating: 0, count: width * height * 3)
    bytes.withUnsafeMutableBufferPointer { buffer in
      let out = buffer.baseAddress!
      parallelFor(height) { y in
        for x in 0..<width {
          var sum = Colour(0, 0, 0)
          for i in 0..<grid * grid {
            let u = (Float(x) + (Float(i % grid) + 0.5) / Float(grid)) / Float(width)
            let v = (Float(y) + (Float(i / grid) + 0.5) / Float(grid)) / Float(height)
            sum += Landscape.colour(u * 1.5, v)
          }
          sum /= Float(grid * grid)
          for c in 0..<3 { out[(y * width + x) * 3 + c] = UInt8(ImageBuffer.scaled(sum[c], 255)) }
        }
      }
    }
    return ImageBuffer(width: width, height: height, colourModel: .rgb, samples: .eight(bytes))
  }
}

private typealias Colour = SIMD3<Float>

/// The scene as a function of the position: x in 0...1.5 from the left, y in 0...1 from the top.
private enum Landscape {
  static let shore: Float = 0.655

  static func colour(_ x: Float, _ y: Float) -> Colour {
    if let near = foreground(x, y) { return near }
    if y < shore { return far(x, y) }
    return water(x, y)
  }

  // MARK: Sky, mountains, forest

  private static func far(_ x: Float, _ y: Float) -> Colour {
    var colour = sky(x, y)
    // Ranges from far to near; haze lightens the far ones.
    let ranges: [(base: Float, height: Float, scale: Float, seed: Float, tone: Colour, snow: Float)] = [
      (0.44, 0.26, 2.1, 3.1, Colour(0.52, 0.53, 0.68), 0.9),
      (0.52, 0.22, 3.0, 11.7, Colour(0.36, 0.38, 0.54), 0.55),
      (0.59, 0.13, 4.2, 23.4, Colour(0.22, 0.28, 0.38), 0),
    ]
    for range in ranges {
      let ridge = range.base - range.height * crest(x * range.scale + range.seed)
      guard y > ridge else { continue }
      let depth = (y - ridge) / range.height
      // Slopes turned to the sun on the left are warm, others blue.
      let slope =
        crest((x + 0.012) * range.scale + range.seed) - crest((x - 0.012) * range.scale + range.seed)
      let facets = fractal(x * 30 + y * 12 + range.seed, y * 44 - x * 9, 5) - 0.5
      let light = smooth(-0.12, 0.14, slope + facets * 0.30)
      var rock = range.tone * (0.72 + 0.55 * light) + Colour(0.16, 0.07, -0.02) * light
      let cover = smooth(-0.12, 0.10, 0.34 * range.snow - depth + facets * 0.55) * (range.snow > 0 ? 1 : 0)
      rock = mix(rock, Colour(0.78, 0.80, 0.92) + Colour(0.22, 0.12, 0) * light, cover)
      colour = mix(
        rock, Colour(0.86, 0.70, 0.66), 0.42 * smooth(0.2, 1.3, depth) * (range.snow > 0 ? 1 : 0.3))
    }
    // A band of firs at the far shore.
    let spacing: Float = 0.0125
    for row in 0..<2 {
      let index = (x / spacing + Float(row) * 0.5).rounded(.down)
      for offset in -1...1 {
        let tree = index + Float(offset)
        let random = hash(tree, 40 + Float(row))
        let centre = (tree + 0.5 - Float(row) * 0.5 + (random - 0.5) * 0.7) * spacing
        let tall = 0.030 + 0.034 * hash(tree, 50 + Float(row)) + 0.018 * noise(x * 5, 9)
        let top = shore + 0.002 - tall
        guard y > top else { continue }
        let down = (y - top) / tall
        let branches = 0.75 + 0.25 * abs(sin(down * 16 + random * 6))
        if abs(x - centre) < 0.0085 * down * branches {
          let side: Float = x < centre ? 1 : 0
          colour = Colour(0.07, 0.14, 0.13) * (0.8 + 0.5 * random) + Colour(0.10, 0.07, 0.02) * side
        }
      }
    }
    return colour
  }

  private static func sky(_ x: Float, _ y: Float) -> Colour {
    let height = y / shore
    var colour = mix(Colour(0.20, 0.36, 0.66), Colour(0.55, 0.64, 0.82), smooth(0, 0.45, height))
    colour = mix(colour, Colour(0.99, 0.78, 0.56), smooth(0.28, 0.85, height))
    let (dx, dy) = (x - 0.42, y - 0.335)
    let distance = (dx * dx + dy * dy).squareRoot()
    colour += Colour(0.50, 0.30, 0.10) * exp(-distance * 6.5)
    colour = mix(colour, Colour(1, 0.96, 0.82), smooth(0.050, 0.044, distance))
    // Streaks of cloud, lit from below near the sun.
    let drift = fractal(x * 2.2 + 0.35 * noise(x * 5, y * 9), y * 11 + 2, 5)
    let cloud = smooth(0.50, 0.78, drift) * smooth(0.62, 0.20, height)
    let lit = mix(Colour(0.93, 0.90, 0.94), Colour(1, 0.72, 0.55), smooth(0.15, 0.55, height))
    return mix(colour, lit, cloud * 0.85)
  }

  // MARK: Water

  private static func water(_ x: Float, _ y: Float) -> Colour {
    let depth = (y - shore) / (1 - shore)
    // Ripples grow toward the viewer and shift what is mirrored.
    let fine = 26 / (depth + 0.12)
    let ripple = noise(x * 9 + 4, (y - shore) * fine * 9) - 0.5
    let small = noise(x * 34, (y - shore) * fine * 26) - 0.5
    let shift = (ripple * 0.7 + small * 0.5) * (0.015 + 0.10 * depth)
    let mirrored = max(0.02, 2 * shore - y - abs(depth) * 0.10 + shift)
    var colour = far(x + shift * 0.25, min(mirrored, shore - 0.002)) * Colour(0.78, 0.82, 0.90)
    colour = mix(colour, Colour(0.07, 0.17, 0.26), 0.16 + 0.42 * depth)
    let glint = smooth(0.24, 0.42, small + ripple * 0.4) * exp(-abs(x - 0.42) * 7)
    colour += Colour(0.75, 0.52, 0.28) * glint * (1 - 0.5 * depth)
    // The boat's mirror image, below its keel.
    if y > 0.825, let image = boat(x + shift * 0.35, 2 * 0.829 - y + shift * 0.5) {
      colour = mix(colour, image * Colour(0.62, 0.70, 0.78), 0.75 * smooth(0.60, 0.05, y - 0.829))
    }
    return mix(colour, Colour(0.95, 0.82, 0.70), 0.5 * smooth(0.012, 0, y - shore))
  }

  // MARK: Boat house, jetty, boat, reeds

  private static func foreground(_ x: Float, _ y: Float) -> Colour? {
    if let reed = reeds(x, y) { return reed }
    if let boat = boat(x, y) { return boat }
    if let house = house(x, y) { return house }
    // The bank on the right that the house stands on.
    let bank = 0.80 - 0.10 * smooth(0.86, 1.12, x) + 0.016 * fractal(x * 9, 3, 3) - 0.03 * smooth(1.1, 1.5, x)
    if x > 0.84 && y > bank + 0.16 * smooth(1.02, 0.84, x) {
      let blades = noise(x * 150, y * 46)
      let patches = fractal(x * 7, y * 9, 4)
      let green = mix(Colour(0.16, 0.27, 0.10), Colour(0.45, 0.48, 0.17), patches)
      return green * (0.62 + 0.7 * blades) + Colour(0.12, 0.06, 0) * smooth(0.04, 0, y - bank)
    }
    return nil
  }

  private static func house(_ x: Float, _ y: Float) -> Colour? {
    let (left, right, eaves, ground): (Float, Float, Float, Float) = (1.03, 1.36, 0.545, 0.755)
    let middle = (left + right) / 2
    let ridge = eaves - 0.155
    // Chimney.
    if x > 1.255 && x < 1.285 && y > 0.385 && y < 0.50 && y < ridge + 0.155 {
      return bricks(x * 2, y * 2, Colour(0.55, 0.27, 0.21))
    }
    // Roof of tiles, a little wider than the walls.
    let half = (right - left) / 2 + 0.030
    let across = abs(x - middle) / half
    let roof = ridge + across * (eaves - ridge + 0.02)
    if across < 1 && y > roof && y < roof + 0.030 {
      return Colour(0.30, 0.15, 0.13) * (0.9 + 0.2 * noise(x * 90, y * 90))
    }
    if across < 1 && y > roof && y < eaves + 0.005 && y > roof {
      // The gable: vertical boards, a round window and a name over the door.
      let board = (x * 62) - (x * 62).rounded(.down)
      let (wx, wy) = (x - middle, y - (eaves - 0.058))
      let radius = (wx * wx + wy * wy).squareRoot()
      if radius < 0.021 {
        let bar = abs(wx) < 0.0025 || abs(wy) < 0.0025
        return bar ? Colour(0.93, 0.89, 0.80) : Colour(1.0, 0.80, 0.42)
      }
      if radius < 0.027 { return Colour(0.93, 0.89, 0.80) }
      return Colour(0.60, 0.22, 0.16) * (board < 0.1 ? 0.62 : 0.92 + 0.14 * noise(x * 62 - board, y * 7))
    }
    guard x > left && x < right && y >= eaves && y < ground else { return nil }
    if let sign = sign(x, y) { return sign }
    // Door.
    let door = (left: middle - 0.032, right: middle + 0.032, top: ground - 0.130)
    if x > door.left && x < door.right && y > door.top {
      if x < door.left + 0.006 || x > door.right - 0.006 || y < door.top + 0.008 {
        return Colour(0.93, 0.89, 0.80)
      }
      let knob =
        (x - door.right + 0.016) * (x - door.right + 0.016) + (y - ground + 0.06) * (y - ground + 0.06)
      if knob < 0.00002 { return Colour(0.95, 0.80, 0.35) }
      let plank = (x * 80) - (x * 80).rounded(.down)
      return Colour(0.12, 0.32, 0.37) * (plank < 0.12 ? 0.6 : 1)
    }
    // Windows with light behind them.
    for centre in [left + 0.068, right - 0.068] {
      let (wx, wy) = (abs(x - centre), abs(y - (eaves + 0.103)))
      if wx < 0.036 && wy < 0.046 {
        if wx > 0.030 || wy > 0.039 || wx < 0.003 || wy < 0.003 { return Colour(0.93, 0.89, 0.80) }
        let glow = 1 - 0.4 * smooth(0, 0.04, (y - eaves - 0.08))
        return Colour(1.0, 0.79, 0.40) * glow
      }
      if wx < 0.054 && wy < 0.046 {
        let slat = ((y * 110) - (y * 110).rounded(.down)) < 0.3
        return Colour(0.14, 0.36, 0.40) * (slat ? 0.7 : 1)
      }
    }
    if y > ground - 0.030 { return bricks(x, y, Colour(0.47, 0.45, 0.44)) }
    let board = (y * 58) - (y * 58).rounded(.down)
    return Colour(0.70, 0.27, 0.19)
      * (board < 0.14 ? 0.60 : 0.90 + 0.18 * noise(x * 12, (y * 58).rounded(.down)))
  }

  /// A white board that reads BRAID.
  private static func sign(_ x: Float, _ y: Float) -> Colour? {
    let (left, top, dot): (Float, Float, Float) = (1.1400, 0.5560, 0.0038)
    let (column, row) = ((x - left) / dot, (y - top) / dot)
    guard column >= -1.6, column < 30.6, row >= -1.6, row < 8.6 else { return nil }
    if column < -1 || column >= 30 || row < -1 || row >= 8 { return Colour(0.25, 0.18, 0.14) }
    let letters: [[UInt8]] = [
      [0x1E, 0x11, 0x11, 0x1E, 0x11, 0x11, 0x1E], [0x1E, 0x11, 0x11, 0x1E, 0x14, 0x12, 0x11],
      [0x0E, 0x11, 0x11, 0x1F, 0x11, 0x11, 0x11], [0x0E, 0x04, 0x04, 0x04, 0x04, 0x04, 0x0E],
      [0x1C, 0x12, 0x11, 0x11, 0x11, 0x12, 0x1C],
    ]
    let white = Colour(0.96, 0.93, 0.85)
    guard column >= 0, column < 29, row >= 0, row < 7 else { return white }
    let (letter, dotColumn) = (Int(column) / 6, Int(column) % 6)
    guard dotColumn < 5 else { return white }
    return letters[letter][Int(row)] >> UInt8(4 - dotColumn) & 1 == 1 ? Colour(0.15, 0.20, 0.30) : white
  }

  private static func bricks(_ x: Float, _ y: Float, _ tone: Colour) -> Colour {
    let row = (y * 62).rounded(.down)
    let across = x * 34 + (row.truncatingRemainder(dividingBy: 2) == 0 ? 0 : 0.5)
    let column = across.rounded(.down)
    if across - column < 0.09 || y * 62 - row < 0.16 { return tone * 1.35 }
    return tone * (0.75 + 0.45 * hash(column, row))
  }

  private static func boat(_ x: Float, _ y: Float) -> Colour? {
    let (centre, line): (Float, Float) = (0.63, 0.80)
    let across = (x - centre) / 0.125
    // Hull.
    if abs(across) < 1 {
      let rim = line - 0.012 * across * across
      let keel = line + 0.036 * (1 - across * across).squareRoot()
      if y > rim && y < keel {
        if y < rim + 0.007 { return Colour(0.95, 0.90, 0.80) }
        let plank = ((y - rim) * 95) - ((y - rim) * 95).rounded(.down)
        return Colour(0.10, 0.34, 0.45) * (plank < 0.18 ? 0.6 : 1) * (1.05 - 0.35 * (y - rim) / 0.05)
      }
    }
    // Mast, rigging and two sails with seams.
    let mast = centre + 0.010
    if abs(x - mast) < 0.0026 && y > 0.435 && y < line { return Colour(0.36, 0.23, 0.14) }
    if y > 0.455 && y < 0.765 {
      let down = (y - 0.455) / 0.31
      let main = (mast - 0.005 - x) / (0.105 * down.squareRoot() * down.squareRoot())
      if main > 0 && main < 1 { return sail(x, y, Colour(0.97, 0.93, 0.84), main) }
      let jib = (x - mast - 0.006) / (0.082 * down)
      if jib > 0 && jib < 1 && y < 0.755 { return sail(x, y, Colour(0.86, 0.30, 0.20), jib) }
    }
    return nil
  }

  private static func sail(_ x: Float, _ y: Float, _ tone: Colour, _ along: Float) -> Colour {
    let seam = (y * 22 + x * 5) - (y * 22 + x * 5).rounded(.down)
    return tone * (0.80 + 0.20 * along) * (seam < 0.07 ? 0.86 : 1)
  }

  private static func reeds(_ x: Float, _ y: Float) -> Colour? {
    guard y > 0.66 else { return nil }
    let spacing: Float = 0.0105
    let index = (x / spacing).rounded(.down)
    for offset in -3...3 {
      let reed = index + Float(offset)
      let random = hash(reed, 71)
      let place = (reed + 0.5 + (hash(reed, 72) - 0.5)) * spacing
      // Dense in the left corner, sparse to the middle.
      let density = smooth(0.48, 0.02, place)
      guard random < density * 0.95 else { continue }
      let top = 0.99 - (0.10 + 0.21 * hash(reed, 73)) * (0.35 + 0.65 * density)
      guard y > top else { continue }
      let up = (1 - y) / (1 - top)
      let bend = (hash(reed, 74) - 0.4) * 0.045 * up * up
      let away = abs(x - place - bend)
      let tone = hash(reed, 75)
      if hash(reed, 76) > 0.72 && y < top + 0.045 && away < 0.0042 {
        return Colour(0.33, 0.19, 0.10) * (0.8 + 0.5 * tone)
      }
      if away < 0.0024 * (1.15 - 0.7 * up) + 0.0006 {
        return mix(Colour(0.14, 0.22, 0.08), Colour(0.52, 0.50, 0.20), tone) * (0.65 + 0.6 * up)
      }
    }
    return nil
  }

  // MARK: Noise

  private static func mix(_ a: Colour, _ b: Colour, _ share: Float) -> Colour { a + (b - a) * share }

  /// 0 before `from`, 1 after `to` (either may be the larger), smooth between.
  private static func smooth(_ from: Float, _ to: Float, _ x: Float) -> Float {
    let t = min(max((x - from) / (to - from), 0), 1)
    return t * t * (3 - 2 * t)
  }

  /// A number in 0..<1 that depends on two whole numbers.
  private static func hash(_ x: Float, _ y: Float) -> Float {
    var bits =
      UInt32(bitPattern: Int32(x)) &* 0x85EB_CA6B ^ UInt32(bitPattern: Int32(y)) &* 0xC2B2_AE35 ^ 0x27D4_EB2F
    bits = (bits ^ bits >> 15) &* 0x2C1B_3C6D
    bits = (bits ^ bits >> 12) &* 0x297A_2D39
    bits ^= bits >> 15
    return Float(bits >> 8) * 0x1p-24
  }

  /// Value noise in 0...1.
  private static func noise(_ x: Float, _ y: Float) -> Float {
    let (x0, y0) = (x.rounded(.down), y.rounded(.down))
    let (u, v) = (smooth(0, 1, x - x0), smooth(0, 1, y - y0))
    let top = hash(x0, y0) + (hash(x0 + 1, y0) - hash(x0, y0)) * u
    let bottom = hash(x0, y0 + 1) + (hash(x0 + 1, y0 + 1) - hash(x0, y0 + 1)) * u
    return top + (bottom - top) * v
  }

  /// Noise of several octaves, in 0...1.
  private static func fractal(_ x: Float, _ y: Float, _ octaves: Int) -> Float {
    var (sum, weight, total, scale): (Float, Float, Float, Float) = (0, 1, 0, 1)
    for octave in 0..<octaves {
      sum += weight * noise(x * scale + Float(octave) * 17, y * scale - Float(octave) * 9)
      total += weight
      weight *= 0.5
      scale *= 2.03
    }
    return sum / total
  }

  /// The height of a mountain range, 0...1, with sharp peaks.
  private static func crest(_ x: Float) -> Float {
    var (sum, weight, total, scale): (Float, Float, Float, Float) = (0, 1, 0, 1)
    for octave in 0..<6 {
      let value = 1 - abs(2 * noise(x * scale + Float(octave) * 31, Float(octave)) - 1)
      sum += weight * value * value
      total += weight
      weight *= 0.46
      scale *= 2.1
    }
    return sum / total
  }
}
