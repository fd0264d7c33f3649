/// How noisy speech is made for training; each probability is that of one example.
public struct NoisyMixtureConfiguration: Sendable, Codable, Hashable {
  /// Seconds of an example.
  public var seconds: Double
  /// Speech to noise in dB by energy over the whole example, uniform in [low, high].
  public var snr: [Float]
  /// The most recordings of noise that sound at once.
  public var noises: Int
  /// Recorded noise is played so many times faster or slower, uniform on a logarithmic scale in [low, high].
  public var noiseSpeed: [Float]
  /// The same for speech.
  public var speechSpeed: [Float]
  /// Several other speakers instead of recorded noise.
  public var babble: Float
  /// Noise whose power falls or rises with frequency, instead of recorded noise.
  public var coloured: Float
  /// Speech and noise pass a random filter of second order each.
  public var filter: Float
  /// Speech is heard in a simulated room; what is to be found is its direct sound and early reflections.
  public var room: Float
  /// Seconds in which the room's sound falls by 60 dB, in [low, high].
  public var reverberationTime: [Float]
  /// Both are cut off above a random frequency.
  public var bandLimit: Float
  /// Level of the recording in dB of its root mean square to full scale, in [low, high].
  public var level: [Float]

  public init(
    seconds: Double = 2, snr: [Float] = [-5, 20], noises: Int = 2, noiseSpeed: [Float] = [1, 1],
    speechSpeed: [Float] = [1, 1], babble: Float = 0.1, coloured: Float = 0.1, filter: Float = 0,
    room: Float = 0.1, reverberationTime: [Float] = [0.15, 0.6], bandLimit: Float = 0.05,
    level: [Float] = [-35, -15]
  ) {
    self.seconds = seconds
    self.snr = snr
    self.noises = noises
    self.noiseSpeed = noiseSpeed
    self.speechSpeed = speechSpeed
    self.babble = babble
    self.coloured = coloured
    self.filter = filter
    self.room = room
    self.reverberationTime = reverberationTime
    self.bandLimit = bandLimit
    self.level = level
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    self.init()
    func read<T: Decodable>(_ key: CodingKeys, _ field: inout T) throws {
      field = try container.decodeIfPresent(T.self, forKey: key) ?? field
    }
    try read(.seconds, &seconds)
    try read(.snr, &snr)
    try read(.noises, &noises)
    try read(.noiseSpeed, &noiseSpeed)
    try read(.speechSpeed, &speechSpeed)
    try read(.babble, &babble)
    try read(.coloured, &coloured)
    try read(.filter, &filter)
    try read(.room, &room)
    try read(.reverberationTime, &reverberationTime)
    try read(.bandLimit, &bandLimit)
    try read(.level, &level)
  }

  /// What makes the configuration unusable, or nil.
  public var problem: String? {
    if !(0.1...60).contains(seconds) { return "seconds \(seconds) is not in 0.1...60" }
    func isRange(_ range: [Float], _ limits: ClosedRange<Float>) -> Bool {
      range.count == 2 && range[0] <= range[1] && range.allSatisfy { limits.contains($0) }
    }
    for (name, range, limits) in [
      ("snr", snr, -60...100), ("noiseSpeed", noiseSpeed, 0.25...4), ("speechSpeed", speechSpeed, 0.5...2),
      ("reverberationTime", reverberationTime, 0.01...5), ("level", level, -80...0),
    ] as [(String, [Float], ClosedRange<Float>)] where !isRange(range, limits) {
      return "\(name) \(range) is not [low, high] within \(limits)"
    }
    if !(1...16).contains(noises) { return "noises \(noises) is not in 1...16" }
    for (name, value) in [
      ("babble", babble), ("coloured", coloured), ("filter", filter), ("room", room),
      ("bandLimit", bandLimit),
    ] where !(0...1).contains(value) {
      return "\(name) \(value) is not a probability"
    }
    if babble + coloured > 1 { return "babble \(babble) and coloured \(coloured) exceed 1 together" }
    return nil
  }
}
