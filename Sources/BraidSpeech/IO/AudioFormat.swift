import CSndFile

/// Container, encoding, rate and channels of a recording.
public struct AudioFormat: Sendable, Hashable {
  /// The container and encoding as libsndfile numbers them (SF_FORMAT_...).
  public var code: Int32
  /// Samples a second.
  public var sampleRate: Int
  public var channels: Int

  public init(code: Int32, sampleRate: Int, channels: Int) {
    self.code = code
    self.sampleRate = sampleRate
    self.channels = channels
  }

  /// How samples are stored in a file.
  public enum Encoding: String, Sendable, CaseIterable {
    case pcm16
    case pcm24
    case float32
    case flac

    var code: Int32 {
      switch self {
      case .pcm16, .flac: Int32(SF_FORMAT_PCM_16)
      case .pcm24: Int32(SF_FORMAT_PCM_24)
      case .float32: Int32(SF_FORMAT_FLOAT)
      }
    }
  }

  /// The containers that an output's extension can name.
  static let containers: [String: Int] = [
    "wav": SF_FORMAT_WAV, "flac": SF_FORMAT_FLAC, "aiff": SF_FORMAT_AIFF,
    "aif": SF_FORMAT_AIFF, "ogg": SF_FORMAT_OGG, "oga": SF_FORMAT_OGG,
    "opus": SF_FORMAT_OGG, "mp3": SF_FORMAT_MPEG, "w64": SF_FORMAT_W64,
    "rf64": SF_FORMAT_RF64, "au": SF_FORMAT_AU, "caf": SF_FORMAT_CAF,
  ]
  /// What goes into a container where the input's encoding does not.
  private static let usual: [Int: Int] = [
    SF_FORMAT_OGG: SF_FORMAT_VORBIS, SF_FORMAT_MPEG: SF_FORMAT_MPEG_LAYER_III,
  ]
  /// The sample rates of formats that have a list of them.
  private static let rates: [String: [Int]] = [
    "opus": [8000, 12000, 16000, 24000, 48000],
    "mp3": [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000],
  ]

  /// The format to write `path` in: the container that its extension names; the wanted encoding, or this format's
  /// where the container takes it, or the container's usual one.
  /// - Throws: `AudioError.unsupported`.
  public func forOutput(_ path: String, encoding: Encoding?, sampleRate: Int) throws -> AudioFormat {
    let name = path.split(separator: "/").last.map(String.init) ?? path
    let suffix = name.contains(".") ? name.split(separator: ".").last!.lowercased() : ""
    var container = Self.containers[suffix]
    if encoding == .flac && (container == nil || suffix == "flac") { container = SF_FORMAT_FLAC }
    guard let container else {
      throw AudioError.unsupported(
        path: path,
        reason: "the extension names no audio format; use .wav, .flac, .aiff, .ogg, .opus or .mp3")
    }
    if encoding == .flac && container != SF_FORMAT_FLAC {
      throw AudioError.unsupported(path: path, reason: "the encoding flac goes into files named .flac")
    }
    var candidates: [Int32] = []
    if let encoding {
      candidates = [encoding.code]
    } else {
      let own = Int(code) & SF_FORMAT_SUBMASK
      if suffix == "opus" {
        candidates = [Int32(SF_FORMAT_OPUS)]
      } else if !isMPEG || container == SF_FORMAT_MPEG {
        // Other containers name MPEG's encoding too, but do not write it.
        candidates = [Int32(own)]
      }
      if suffix != "opus" {
        candidates += [Self.usual[container].map { Int32($0) } ?? Int32(SF_FORMAT_PCM_16)]
      }
    }
    if let rates = Self.rates[suffix], !rates.contains(sampleRate) {
      let list = rates.dropLast().map(String.init).joined(separator: ", ") + " or \(rates.last!)"
      throw AudioError.unsupported(
        path: path, reason: "a .\(suffix) file holds \(list) samples a second, not \(sampleRate)")
    }
    for candidate in candidates {
      var info = SF_INFO()
      info.samplerate = Int32(sampleRate)
      info.channels = Int32(channels)
      info.format = Int32(container) | candidate
      if sf_format_check(&info) != 0 {
        return AudioFormat(code: info.format, sampleRate: sampleRate, channels: channels)
      }
    }
    throw AudioError.unsupported(
      path: path,
      reason:
        "a .\(suffix) file does not hold \(encoding?.rawValue ?? "this encoding") at \(sampleRate) Hz with "
        + "\(channels) channels")
  }

  /// Whether samples are stored as integers, which end at full scale.
  public var holdsIntegers: Bool { integerBits != nil }

  /// The bits of a sample where samples are stored as integers.
  var integerBits: Int? {
    let bits = [
      SF_FORMAT_PCM_S8: 8, SF_FORMAT_PCM_U8: 8, SF_FORMAT_PCM_16: 16, SF_FORMAT_PCM_24: 24,
      SF_FORMAT_PCM_32: 32,
    ]
    return bits[Int(code) & SF_FORMAT_SUBMASK]
  }

  var isMPEG: Bool {
    [SF_FORMAT_MPEG_LAYER_I, SF_FORMAT_MPEG_LAYER_II, SF_FORMAT_MPEG_LAYER_III].contains(
      Int(code) & SF_FORMAT_SUBMASK)
  }

  /// The bytes of a sample where each is stored by itself.
  var bytesPerSample: Int? {
    let others = [SF_FORMAT_FLOAT: 4, SF_FORMAT_DOUBLE: 8, SF_FORMAT_ULAW: 1, SF_FORMAT_ALAW: 1]
    let isPacked = Int(code) & SF_FORMAT_TYPEMASK == SF_FORMAT_FLAC
    return isPacked ? nil : integerBits.map { $0 / 8 } ?? others[Int(code) & SF_FORMAT_SUBMASK]
  }

  /// The nearest integer of that many bits to a sample in -1...1, clipped; 0 for what is not a number.
  static func integer(_ sample: Float, bits: Int) -> Int32 {
    guard !sample.isNaN else { return 0 }
    let top = Double(1 << (bits - 1))
    return Int32(min(max((Double(sample) * top).rounded(), -top), top - 1))
  }

  /// The extension of `path` where it names a container that is written, in lower case; nil where it names none.
  public static func suffix(ofPath path: String) -> String? {
    let name = path.split(separator: "/").last.map(String.init) ?? path
    guard name.contains("."), let suffix = name.split(separator: ".").last?.lowercased(),
      containers[suffix] != nil
    else { return nil }
    return suffix
  }

  /// "WAV, 16-bit PCM, 48000 Hz, 2 channels"
  public var description: String {
    func name(_ command: Int32, _ format: Int32) -> String {
      var info = SF_FORMAT_INFO()
      info.format = format
      let found = sf_command(nil, command, &info, Int32(MemoryLayout<SF_FORMAT_INFO>.size)) == 0
      return found && info.name != nil ? String(cString: info.name) : "unknown"
    }
    let container = name(Int32(SFC_GET_FORMAT_INFO), code & Int32(SF_FORMAT_TYPEMASK))
    let encoding = name(Int32(SFC_GET_FORMAT_INFO), code & Int32(SF_FORMAT_SUBMASK))
    return "\(container), \(encoding), \(sampleRate) Hz, \(channels) channel\(channels == 1 ? "" : "s")"
  }
}
