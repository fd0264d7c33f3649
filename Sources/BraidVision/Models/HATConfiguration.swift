/// What distinguishes the published HAT variants (options/test of XPixelGroup/HAT).
public struct HATConfiguration: Sendable, Codable, Hashable {
  public var channels = 180
  /// Hybrid attention blocks of each residual group.
  public var depths = [6, 6, 6, 6, 6, 6]
  public var heads = 6
  public var window = 16
  public var compressRatio = 3
  public var squeezeFactor = 30
  public var scale = 4
  public var overlapRatio = 0.5
  public var convolutionScale: Float = 0.01
  public var mlpRatio = 2
  /// Channels of the upsampler.
  public var features = 64

  public init(
    channels: Int = 180, depths: [Int] = [6, 6, 6, 6, 6, 6], heads: Int = 6, window: Int = 16,
    compressRatio: Int = 3, squeezeFactor: Int = 30, scale: Int = 4
  ) {
    self.channels = channels
    self.depths = depths
    self.heads = heads
    self.window = window
    self.compressRatio = compressRatio
    self.squeezeFactor = squeezeFactor
    self.scale = scale
  }

  public static func small(scale: Int) -> HATConfiguration {
    HATConfiguration(channels: 144, compressRatio: 24, squeezeFactor: 24, scale: scale)
  }
  public static func base(scale: Int) -> HATConfiguration { HATConfiguration(scale: scale) }
  public static func large(scale: Int) -> HATConfiguration {
    HATConfiguration(depths: [Int](repeating: 6, count: 12), scale: scale)
  }

  /// What makes the configuration unusable, or nil.
  var problem: String? {
    if !(1...1024).contains(channels) || !(1...64).contains(heads) || channels % heads != 0 {
      return "\(channels) channels do not divide into \(heads) heads"
    }
    if depths.isEmpty || depths.count > 64 || !depths.allSatisfy({ (1...64).contains($0) }) {
      return "depths \(depths)"
    }
    if ![1, 2, 3, 4, 8].contains(scale) { return "scale \(scale)" }
    if !(2...64).contains(window) || window % 2 != 0 || !(0...1).contains(overlapRatio) {
      return "window \(window)"
    }
    if compressRatio < 1 || compressRatio > channels || squeezeFactor < 1 || squeezeFactor > channels {
      return "compressRatio \(compressRatio), squeezeFactor \(squeezeFactor)"
    }
    if !(1...8).contains(mlpRatio) || !(1...1024).contains(features) {
      return "mlpRatio \(mlpRatio), features \(features)"
    }
    return nil
  }

  /// The side of the windows that overlapping attention takes keys from.
  var overlapWindow: Int { window + Int(Double(window) * overlapRatio) }
}
