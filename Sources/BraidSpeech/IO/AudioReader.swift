import CSndFile
import Foundation

/// Reads a recording block by block, in memory that does not grow with its length.
///
/// Formats: what libsndfile reads (WAV, FLAC, Ogg Vorbis and Opus, AIFF, MP3, ...). Not for use by several tasks
/// at once.
public final class AudioReader {
  public let path: String
  public let format: AudioFormat
  /// Samples of a channel as the header has it; nil where it does not say.
  public let declaredLength: Int?
  /// Samples that were not numbers and were read as 0.
  public private(set) var replacedSamples = 0
  /// What is missing of what the header promises; known once all was read.
  public private(set) var shortfall: AudioShortfall?
  /// Samples of a channel that were read.
  private var readCount = 0
  private let file: OpaquePointer

  /// Channels beyond this are taken for a damaged header.
  public static let channelLimit = 64

  public init(_ path: String) throws {
    self.path = path
    var status = stat()
    guard stat(path, &status) == 0 else {
      throw errno == ENOENT || errno == ENOTDIR
        ? AudioError.notFound(path: path)
        : AudioError.unreadable(path: path, reason: String(cString: strerror(errno)))
    }
    guard status.st_mode & S_IFMT != S_IFDIR else {
      throw AudioError.unreadable(path: path, reason: "it is a folder")
    }
    guard access(path, R_OK) == 0 else {
      throw AudioError.unreadable(path: path, reason: String(cString: strerror(errno)))
    }
    if status.st_mode & S_IFMT == S_IFREG && status.st_size == 0 { throw AudioError.empty(path: path) }
    var info = SF_INFO()
    guard let opened = sf_open(path, Int32(SFM_READ), &info) else {
      let code = sf_error(nil)
      let reason = String(cString: sf_strerror(nil))
      throw code == Int32(SF_ERR_UNRECOGNISED_FORMAT)
        ? AudioError.unsupported(
          path: path, reason: "no audio format that is read; sound in a video can be taken out with ffmpeg")
        : AudioError.corrupt(path: path, reason: reason)
    }
    guard info.channels > 0, info.channels <= Self.channelLimit, info.samplerate > 0 else {
      sf_close(opened)
      throw AudioError.corrupt(
        path: path, reason: "the header says \(info.channels) channels at \(info.samplerate) Hz")
    }
    file = opened
    format = AudioFormat(code: info.format, sampleRate: Int(info.samplerate), channels: Int(info.channels))
    declaredLength = info.frames > 0 && info.frames < Int64.max / 2 ? Int(info.frames) : nil
    guard let extent = DataExtent(path) else {
      if DataExtent.oggEnds(path) == false { shortfall = .unknown }
      return
    }
    let frames = declaredLength ?? 0
    if extent.promised > extent.present {
      let promised: Int
      if let bytes = format.bytesPerSample {
        promised = extent.promised / (bytes * format.channels)
      } else {
        promised = Int(Double(frames) * Double(extent.promised) / Double(max(1, extent.present)))
      }
      if promised > frames { shortfall = .samples(promised - frames) }
    } else if extent.promised == 0, extent.present >= Self.unfinishedSize {
      throw AudioError.corrupt(
        path: path,
        reason:
          "the header says that there are no samples, but \(extent.present) bytes follow; the program that "
          + "wrote it did not finish")
    }
  }

  /// Two frames: encoders count the samples at the ends in different ways.
  private static let mpegSlack = 2 * 1152
  /// More bytes than other chunks have behind samples.
  private static let unfinishedSize = 1 << 14

  deinit { sf_close(file) }

  /// The next samples, interleaved [frames, channels] in -1...1, at most `frames` of them; empty at the end.
  ///
  /// Samples that are not finite come as 0 and are counted in `replacedSamples`.
  public func read(_ frames: Int) throws -> [Float] {
    let channels = format.channels
    var samples = [Float](repeating: 0, count: frames * channels)
    let count = samples.withUnsafeMutableBufferPointer {
      Int(sf_readf_float(file, $0.baseAddress!, Int64(frames)))
    }
    if count <= 0 {
      let code = sf_error(file)
      // Packed formats count their samples in the header: what is not there was cut off.
      if let declaredLength, declaredLength > readCount + (format.isMPEG ? Self.mpegSlack : 0),
        shortfall == nil
      {
        shortfall = .samples(declaredLength - readCount)
      }
      if readCount == 0, let shortfall {
        throw AudioError.corrupt(
          path: path, reason: shortfall.description(found: 0, sampleRate: format.sampleRate))
      }
      guard code == 0 || shortfall != nil else {
        throw AudioError.corrupt(path: path, reason: String(cString: sf_strerror(file)))
      }
      return []
    }
    readCount += count
    samples.removeLast((frames - count) * channels)
    for i in samples.indices where !samples[i].isFinite {
      samples[i] = 0
      replacedSamples += 1
    }
    return samples
  }

  /// A whole recording, interleaved; for short ones.
  /// - Throws: `AudioError.unsupported` where it is longer than `limit` samples of a channel.
  public static func readAll(_ path: String, limit: Int = 1 << 28) throws -> (
    samples: [Float], format: AudioFormat
  ) {
    let reader = try AudioReader(path)
    var all: [Float] = []
    while true {
      let block = try reader.read(1 << 16)
      if block.isEmpty { break }
      all += block
      guard all.count / reader.format.channels <= limit else {
        throw AudioError.unsupported(path: path, reason: "it is longer than \(limit) samples")
      }
    }
    guard !all.isEmpty else { throw AudioError.empty(path: path) }
    return (all, reader.format)
  }
}
