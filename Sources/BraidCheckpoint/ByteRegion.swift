import BraidTensor
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A run of bytes that stays where it is: a mapped file, a block of memory, or bytes within the binary.
///
/// A file is mapped privately and copied on write, so that a tensor over it may be changed in place without
/// changing the file.
final class ByteRegion: @unchecked Sendable {
  let base: UnsafeMutableRawPointer
  let count: Int
  /// Whether tensors over the bytes may be changed in place.
  let isWritable: Bool
  /// Whether somebody may have changed bytes through a tensor.
  var isHandedOut: Bool {
    get { handedOut.load(ordering: .relaxed) }
    set { handedOut.store(newValue, ordering: .relaxed) }
  }
  private let handedOut = Atomic<Bool>(false)
  private let isFile: Bool
  private let release: (@Sendable (UnsafeMutableRawPointer, Int) -> Void)?

  private init(
    base: UnsafeMutableRawPointer, count: Int, isFile: Bool = false,
    release: (@Sendable (UnsafeMutableRawPointer, Int) -> Void)?
  ) {
    self.isFile = isFile
    self.base = base
    self.count = count
    self.release = release
    isWritable = release != nil
  }

  deinit { release?(base, count) }

  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

  /// The mapped content of a regular file.
  static func file(_ path: String) throws -> ByteRegion {
    // O_NONBLOCK: opening a named pipe must not wait for a writer.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      if errno == ENOENT || errno == ENOTDIR { throw CheckpointError.notFound(path: path) }
      throw CheckpointError.unreadable(path: path, reason: String(cString: strerror(errno)))
    }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      throw CheckpointError.unreadable(path: path, reason: String(cString: strerror(errno)))
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw CheckpointError.unreadable(path: path, reason: "not a regular file")
    }
    let count = Int(status.st_size)
    guard count > 0 else { throw CheckpointError.unrecognized(path: path, reason: "the file is empty") }
    guard
      let base = mmap(nil, count, PROT_READ | PROT_WRITE, MAP_PRIVATE, descriptor, 0), base != MAP_FAILED
    else {
      throw CheckpointError.unreadable(path: path, reason: String(cString: strerror(errno)))
    }
    return ByteRegion(base: base, count: count, isFile: true) { munmap($0, $1) }
  }

  /// A zeroed block of memory.
  static func block(count: Int) -> ByteRegion {
    var block: UnsafeMutableRawPointer?
    guard posix_memalign(&block, 64, max(count, 1)) == 0, let base = block else { Memory.refused(count) }
    base.initializeMemory(as: UInt8.self, repeating: 0, count: count)
    return ByteRegion(base: base, count: count) { base, _ in free(base) }
  }

  /// Bytes that stay valid for good; they are not written to.
  static func foreign(_ base: UnsafeRawPointer, count: Int) -> ByteRegion {
    ByteRegion(base: UnsafeMutableRawPointer(mutating: base), count: count, release: nil)
  }

  /// A copy of the given bytes.
  static func copy(_ bytes: some Collection<UInt8>) -> ByteRegion {
    let region = block(count: bytes.count)
    UnsafeMutableRawBufferPointer(start: region.base, count: region.count).copyBytes(from: bytes)
    return region
  }

  /// Gives back the memory of whole pages of a mapped file within `range`, which are read again when needed; nothing
  /// happens where bytes may have been changed.
  func dropPages(_ range: Range<Int>) {
    guard isFile, !isHandedOut else { return }
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    let first = (range.lowerBound + page - 1) / page * page
    let end = range.upperBound == count ? count : range.upperBound / page * page
    if first < end { madvise(base + first, end - first, MADV_DONTNEED) }
  }

  /// The bytes in `range`; the caller has checked that they lie within.
  func slice(_ range: Range<Int>) -> UnsafeRawBufferPointer {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= count, "ByteRegion: \(range) is outside 0..<\(count)")
    return UnsafeRawBufferPointer(start: base + range.lowerBound, count: range.count)
  }

  /// The little-endian number at `offset`, or nil where it does not lie within.
  func integer<T: FixedWidthInteger>(_ type: T.Type, at offset: Int) -> T? {
    guard offset >= 0, offset <= count - MemoryLayout<T>.size else { return nil }
    return T(littleEndian: (base + offset).loadUnaligned(as: T.self))
  }

  /// Whether `prefix` stands at `offset`.
  func hasBytes(_ prefix: some Collection<UInt8>, at offset: Int = 0) -> Bool {
    guard offset >= 0, offset <= count - prefix.count else { return false }
    return slice(offset..<offset + prefix.count).elementsEqual(prefix)
  }
}
