import Foundation

/// Writes samples without a header to an open file or pipe, at once.
public final class PCMWriter: SampleSink {
  public let path: String
  public let format: PCMFormat
  private let descriptor: Int32

  public init(descriptor: Int32 = STDOUT_FILENO, format: PCMFormat, path: String = "-") {
    self.descriptor = descriptor
    self.format = format
    self.path = path
  }

  public var clips: Bool { format.encoding != .f32le }

  /// Writes samples; where it returns, the system has them.
  /// - Throws: `AudioError.abandoned` where nobody reads any more.
  public func write(_ samples: [Float]) throws {
    let bytes = format.bytes(samples)
    var offset = 0
    while offset < bytes.count {
      let count = bytes.withUnsafeBytes {
        Glibc.write(descriptor, $0.baseAddress! + offset, bytes.count - offset)
      }
      if count < 0 {
        let code = errno
        if PCMFormat.isPassing(code, on: descriptor, POLLOUT) { continue }
        if code == EPIPE { throw AudioError.abandoned(path: path) }
        throw AudioError.cannotWrite(path: path, reason: String(cString: strerror(code)))
      }
      offset += count
    }
  }

  public func commit() throws {}
}
