import BraidNN

/// A registered mixer with its configuration, as part of another configuration: {"mixer": ..., "configuration": ...}.
public struct NamedMixer: Codable, Hashable, Sendable {
  public let mixer: String
  private let configuration: any Codable & Hashable & Sendable

  public init<Mixer: SequenceMixer>(_ type: Mixer.Type, _ configuration: Mixer.Configuration) {
    mixer = type.name
    self.configuration = configuration
  }

  private enum CodingKeys: CodingKey { case mixer, configuration }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    mixer = try container.decode(String.self, forKey: .mixer)
    func decoded<Mixer: SequenceMixer>(_ type: Mixer.Type) throws -> any Codable & Hashable & Sendable {
      try container.decode(Mixer.Configuration.self, forKey: .configuration)
    }
    configuration = try decoded(MixerRegistry.entry(mixer).type)
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(mixer, forKey: .mixer)
    try container.encode(configuration, forKey: .configuration)
  }

  public static func == (a: NamedMixer, b: NamedMixer) -> Bool {
    a.mixer == b.mixer && AnyHashable(a.configuration) == AnyHashable(b.configuration)
  }

  public func hash(into hasher: inout Hasher) {
    hasher.combine(mixer)
    hasher.combine(AnyHashable(configuration))
  }

  /// The mixer, its parameters declared in the scope.
  /// - Throws: `MixerError`.
  public func make(_ scope: ParameterScope) throws -> any SequenceMixer {
    func made<Mixer: SequenceMixer>(_ type: Mixer.Type) throws -> any SequenceMixer {
      try Mixer(scope, configuration as! Mixer.Configuration)
    }
    return try made(MixerRegistry.entry(mixer).type)
  }
}
