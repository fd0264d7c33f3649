import BraidFiles
import CSndFile
import Foundation

/// Writes a recording block by block; the file appears under its name once it is whole.
///
/// Where the encoding is of integers, samples are rounded to the nearest, and clipped at full scale. Not for use by several tasks at once.
public final class AudioWriter {
  private let target: AtomicFile
  private let path: String
  private var file: OpaquePointer?
  private let channels: Int
  private let integerBits: Int?

  public var clips: Bool { integerBits != nil }

  public init(_ path: String, format: AudioFormat) throws {
    self.path = path
    channels = format.channels
    integerBits = format.integerBits
    target = try AtomicFile(path) { AudioError($0) }
    var info = SF_INFO()
    info.samplerate = Int32(format.sampleRate)
    info.channels = Int32(format.channels)
    info.format = format.code
    file = target.withDescriptor { sf_open_fd($0, Int32(SFM_WRITE), &info, Int32(SF_FALSE)) }
    guard file != nil else {
      throw AudioError.cannotCreate(path: path, reason: String(cString: sf_strerror(nil)))
    }
    sf_command(file, Int32(SFC_SET_CLIPPING), nil, Int32(SF_TRUE))
    // It would hold the time of writing: equal samples are to give equal files.
    sf_command(file, Int32(SFC_SET_ADD_PEAK_CHUNK), nil, Int32(SF_FALSE))
  }

  deinit { if let file { sf_close(file) } }

  /// Appends samples, interleaved [frames, channels].
  public func write(_ samples: [Float]) throws {
    let frames = Int64(samples.count / channels)
    guard frames > 0 else { return }
    let written: Int64
    if let bits = integerBits {
      // libsndfile would round some containers' samples down. It takes integers by their upper bits.
      let integers = samples.map { AudioFormat.integer($0, bits: bits) << Int32(32 - bits) }
      written = sf_writef_int(file, integers, frames)
    } else {
      written = sf_writef_float(file, samples, frames)
    }
    guard written == frames else {
      throw AudioError.cannotWrite(path: path, reason: String(cString: sf_strerror(file)))
    }
  }

  /// Ends the file and gives it its name.
  public func commit() throws {
    let result = sf_close(file)
    file = nil
    guard result == 0 else {
      throw AudioError.cannotWrite(path: path, reason: String(cString: sf_error_number(result)))
    }
    try target.commit()
  }
}
