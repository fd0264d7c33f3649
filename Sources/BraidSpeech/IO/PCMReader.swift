import Foundation

/// Reads samples without a header from an open file or pipe, as they come.
public final class PCMReader: SampleSource {
  public let path: String
  public let format: AudioFormat
  public var declaredLength: Int? { nil }
  public private(set) var replacedSamples = 0
  /// Bytes after the last whole frame, known at the end.
  public private(set) var leftoverBytes = 0
  private let pcm: PCMFormat
  private let descriptor: Int32

  public init(descriptor: Int32 = STDIN_FILENO, format: PCMFormat, path: String = "-") {
    self.descriptor = descriptor
    self.path = path
    pcm = format
    self.format = format.audioFormat
  }

  /// The next samples: `frames` of every channel, fewer only at the end. Waits for them.
  public func read(_ frames: Int) throws -> [Float] {
    let wanted = frames * pcm.frameSize
    var bytes = [UInt8](repeating: 0, count: wanted)
    var count = 0
    while count < wanted {
      let got = bytes.withUnsafeMutableBytes {
        Glibc.read(descriptor, $0.baseAddress! + count, wanted - count)
      }
      if got == 0 { break }
      if got < 0 {
        if PCMFormat.isPassing(errno, on: descriptor, POLLIN) { continue }
        throw AudioError.unreadable(path: path, reason: String(cString: strerror(errno)))
      }
      count += got
    }
    let whole = count / pcm.frameSize * pcm.frameSize
    if count > 0 { leftoverBytes = count - whole }
    var samples = bytes.withUnsafeBytes { pcm.samples(UnsafeRawBufferPointer(rebasing: $0[..<whole])) }
    if pcm.encoding == .f32le {
      for i in samples.indices where !samples[i].isFinite {
        samples[i] = 0
        replacedSamples += 1
      }
    }
    return samples
  }
}
