import Glibc

/// How large a picture may be before reading it is refused; checked against the header, before any allocation.
public struct ImageLimits: Sendable, Equatable {
  /// Pixels of one picture (width times height).
  public var maximumPixels: Int
  /// Bytes that the decoded samples may take.
  public var maximumBytes: Int
  /// Bytes of the file.
  public var maximumFileBytes: Int

  /// The defaults: 512 megapixels, half of the machine's memory, files of 4 GiB.
  public init(
    maximumPixels: Int = 512 << 20, maximumBytes: Int = ImageLimits.halfOfMemory,
    maximumFileBytes: Int = 4 << 30
  ) {
    self.maximumPixels = maximumPixels
    self.maximumBytes = maximumBytes
    self.maximumFileBytes = maximumFileBytes
  }

  /// Half of the machine's physical memory, in bytes.
  public static var halfOfMemory: Int {
    let pages = sysconf(Int32(_SC_PHYS_PAGES))
    let size = sysconf(Int32(_SC_PAGESIZE))
    return pages > 0 && size > 0 ? pages / 2 * size : 2 << 30
  }

  /// Throws `ImageError.tooLarge` where a picture of this size exceeds a limit.
  func check(width: Int, height: Int, bytesPerPixel: Int, path: String) throws {
    let (pixels, overflow) = width.multipliedReportingOverflow(by: height)
    if overflow || pixels > maximumPixels {
      throw ImageError.tooLarge(path: path, width: width, height: height, limit: "\(maximumPixels) pixels")
    }
    if pixels > maximumBytes / bytesPerPixel {
      throw ImageError.tooLarge(
        path: path, width: width, height: height, limit: "\(maximumBytes >> 20) MiB of memory")
    }
  }
}
