import Foundation

/// The range of an axis and its round marks.
struct Ticks {
  private(set) var values: [Double] = []
  private let low: Double, high: Double, step: Double
  private let logarithmic: Bool

  /// Marks for `data`, about `wanted` of them; a `padded` range leaves a little space at both ends.
  init(_ data: [Double], wanted: Int, padded: Bool, logarithmic: Bool = false) {
    self.logarithmic = logarithmic
    let numbers = logarithmic ? data.map(log10) : data
    var low = numbers.min() ?? 0
    var high = numbers.max() ?? 1
    // One value only, or values that differ by less than a double resolves: room around it.
    if high - low <= abs(high) * 1e-9 {
      let room = max(abs(high) * 0.1, logarithmic ? 0.3 : 1e-6)
      (low, high) = (low - room, high + room)
    }
    if padded {
      let room = (high - low) * 0.05
      (low, high) = (low - room, high + room)
    }
    (self.low, self.high) = (low, high)
    let rough = (high - low) / Double(wanted)
    let power = pow(10, floor(log10(rough)))
    let step = [1, 2, 5, 10].map { $0 * power }.first { $0 >= rough * 0.999 } ?? 10 * power
    self.step = step
    if logarithmic && high - low > 0.7 {
      for exponent in Int(floor(low))...Int(ceil(high)) {
        for digit in high - low > 3 ? [1.0] : [1.0, 2, 5] {
          let value = digit * pow(10, Double(exponent))
          if log10(value) >= low && log10(value) <= high { values.append(value) }
        }
      }
    } else {
      var index = ceil(low / step)
      while index * step <= high + step * 1e-6 && values.count < 50 {
        values.append(logarithmic ? pow(10, index * step) : index * step)
        index += 1
      }
    }
  }

  /// Where `value` lies between the ends of the axis, 0...1.
  func fraction(_ value: Double) -> Double { ((logarithmic ? log10(value) : value) - low) / (high - low) }

  /// The mark's text, with as many digits as tell marks apart: 0.05, 12.5, 200k.
  func label(_ value: Double) -> String {
    if value == 0 { return "0" }
    let size = abs(value)
    if size >= 1e6 { return trimmed(value / 1e6) + "M" }
    if size >= 1e4 { return trimmed(value / 1e3) + "k" }
    if size < 1e-3 { return String(format: "%.1e", value) }
    let smallest = logarithmic ? size * 0.1 : step
    let digits = max(0, min(6, Int(ceil(-log10(smallest) - 1e-9))))
    let text = String(format: "%.\(digits)f", value)
    return logarithmic ? trimmed(value) : text
  }

  private func trimmed(_ value: Double) -> String {
    String(format: "%.4g", value)
  }
}
