extension Degradation: Codable {
  private enum Key: String, CodingKey, CaseIterable {
    case kind, sigma, quality, factor, round
  }
  private enum Kind: String, Codable, CaseIterable {
    case noise, jpeg, blur, downscale

    var keys: Set<String> {
      switch self {
      case .noise, .blur: ["kind", "sigma"]
      case .jpeg: ["kind", "quality"]
      case .downscale: ["kind", "factor", "round"]
      }
    }
  }
  private struct AnyKey: CodingKey {
    var stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Key.self)
    let kind = try container.decode(Kind.self, forKey: .kind)
    // A misspelt key must not silently leave a default in force.
    for key in try decoder.container(keyedBy: AnyKey.self).allKeys where !kind.keys.contains(key.stringValue)
    {
      throw DecodingError.dataCorrupted(
        .init(
          codingPath: container.codingPath,
          debugDescription: "degradation \"\(kind.rawValue)\" has no \"\(key.stringValue)\"; it has "
            + kind.keys.sorted().joined(separator: ", ")))
    }
    switch kind {
    case .noise: self = .noise(sigma: try container.range(.sigma, within: 0...255))
    case .blur: self = .blur(sigma: try container.range(.sigma, within: 0...100))
    case .jpeg: self = .jpeg(quality: try container.range(.quality, within: 1...100))
    case .downscale:
      let factor = try container.decode(Int.self, forKey: .factor)
      guard (1...16).contains(factor) else {
        throw DecodingError.dataCorruptedError(
          forKey: .factor, in: container, debugDescription: "factor \(factor) is outside 1...16")
      }
      self = .downscale(
        factor: factor, round: try container.decodeIfPresent(Bool.self, forKey: .round) ?? true)
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    switch self {
    case .noise(let sigma):
      try container.encode(Kind.noise, forKey: .kind)
      try container.encode([sigma.lowerBound, sigma.upperBound], forKey: .sigma)
    case .blur(let sigma):
      try container.encode(Kind.blur, forKey: .kind)
      try container.encode([sigma.lowerBound, sigma.upperBound], forKey: .sigma)
    case .jpeg(let quality):
      try container.encode(Kind.jpeg, forKey: .kind)
      try container.encode([quality.lowerBound, quality.upperBound], forKey: .quality)
    case .downscale(let factor, let round):
      try container.encode(Kind.downscale, forKey: .kind)
      try container.encode(factor, forKey: .factor)
      try container.encode(round, forKey: .round)
    }
  }
}

extension KeyedDecodingContainer {
  /// [low, high], or one number for both; throws where they are out of order or outside `limits`.
  fileprivate func range<Bound: Decodable & Comparable>(
    _ key: Key, within limits: ClosedRange<Bound>
  ) throws -> ClosedRange<Bound> {
    let bounds: [Bound]
    if let single = try? decode(Bound.self, forKey: key) {
      bounds = [single, single]
    } else {
      bounds = try decode([Bound].self, forKey: key)
    }
    guard bounds.count == 2, limits.contains(bounds[0]), limits.contains(bounds[1]), bounds[0] <= bounds[1]
    else {
      throw DecodingError.dataCorruptedError(
        forKey: key, in: self,
        debugDescription:
          "expected [low, high] within \(limits.lowerBound)...\(limits.upperBound), got \(bounds)")
    }
    return bounds[0]...bounds[1]
  }
}
