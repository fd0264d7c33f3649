import CSndFile
import Glibc

/// Samples without a header, interleaved: how they are stored, their rate and channels, written `s16le:16000:1`.
public struct PCMFormat: Sendable, Hashable, CustomStringConvertible {
  /// Signed integers of 16, 24 or 32 bits, or 32-bit floats; all with the least byte first.
  public enum Encoding: String, Sendable, CaseIterable {
    case s16le
    case s24le
    case s32le
    case f32le

    public var byteCount: Int {
      switch self {
      case .s16le: 2
      case .s24le: 3
      case .s32le, .f32le: 4
      }
    }

    fileprivate var code: Int32 {
      switch self {
      case .s16le: Int32(SF_FORMAT_PCM_16)
      case .s24le: Int32(SF_FORMAT_PCM_24)
      case .s32le: Int32(SF_FORMAT_PCM_32)
      case .f32le: Int32(SF_FORMAT_FLOAT)
      }
    }
  }

  public var encoding: Encoding
  public var sampleRate: Int
  public var channels: Int

  public init(encoding: Encoding, sampleRate: Int, channels: Int) {
    self.encoding = encoding
    self.sampleRate = sampleRate
    self.channels = channels
  }

  /// The format that a text such as `s16le:16000:1` names, or nil.
  public init?(_ text: String) {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 3, let encoding = Encoding(rawValue: String(parts[0])),
      let rate = Int(parts[1]), let channels = Int(parts[2]),
      (1...1_000_000).contains(rate), (1...AudioReader.channelLimit).contains(channels)
    else { return nil }
    self.init(encoding: encoding, sampleRate: rate, channels: channels)
  }

  /// What stands for a file's format where samples go out without a header: the wanted encoding, or the file's own
  /// where it is one of these, or 16 bits.
  public init(_ format: AudioFormat, encoding: AudioFormat.Encoding? = nil) {
    let code = encoding?.code ?? format.code & Int32(SF_FORMAT_SUBMASK)
    self.init(
      encoding: Encoding.allCases.first { $0.code == code } ?? .s16le, sampleRate: format.sampleRate,
      channels: format.channels)
  }

  public var description: String { "\(encoding.rawValue):\(sampleRate):\(channels)" }

  /// The same, as files describe themselves.
  public var audioFormat: AudioFormat {
    AudioFormat(code: Int32(SF_FORMAT_RAW) | encoding.code, sampleRate: sampleRate, channels: channels)
  }

  /// Whether a call on a descriptor is to be made again; waits first where whoever shares it made it one that does not
  /// block.
  static func isPassing(_ code: Int32, on descriptor: Int32, _ event: Int32) -> Bool {
    if code == EAGAIN {
      var waited = pollfd(fd: descriptor, events: Int16(event), revents: 0)
      _ = poll(&waited, 1, -1)
    }
    return code == EINTR || code == EAGAIN
  }

  /// Bytes of one sample of every channel.
  public var frameSize: Int { encoding.byteCount * channels }

  /// The samples in whole frames of bytes; integers become -1...1.
  public func samples(_ bytes: UnsafeRawBufferPointer) -> [Float] {
    let count = bytes.count / encoding.byteCount
    return [Float](unsafeUninitializedCapacity: count) { out, filled in
      for i in 0..<count {
        switch encoding {
        case .s16le:
          out[i] =
            Float(Int16(littleEndian: bytes.loadUnaligned(fromByteOffset: 2 * i, as: Int16.self))) * 0x1p-15
        case .s24le:
          let low = UInt32(bytes[3 * i]) | UInt32(bytes[3 * i + 1]) << 8 | UInt32(bytes[3 * i + 2]) << 16
          out[i] = Float(Int32(bitPattern: low << 8) >> 8) * 0x1p-23
        case .s32le:
          let value = Int32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * i, as: Int32.self))
          out[i] = Float(value) * 0x1p-31
        case .f32le:
          let bits = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * i, as: UInt32.self))
          out[i] = Float(bitPattern: bits)
        }
      }
      filled = count
    }
  }

  /// The bytes of samples; integers are rounded and clipped.
  public func bytes(_ samples: [Float]) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(samples.count * encoding.byteCount)
    func append(_ value: Int32, _ count: Int) {
      for i in 0..<count { bytes.append(UInt8(truncatingIfNeeded: value >> Int32(8 * i))) }
    }
    for sample in samples {
      if encoding == .f32le {
        append(Int32(bitPattern: sample.bitPattern), 4)
      } else {
        append(AudioFormat.integer(sample, bits: 8 * encoding.byteCount), encoding.byteCount)
      }
    }
    return bytes
  }
}
