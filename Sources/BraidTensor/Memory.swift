import Foundation
import Synchronization

/// The caching allocator behind every CPU tensor, and its figures.
///
/// Freed blocks are kept for reuse up to `cacheLimit`, because fresh pages cost more than the work of many
/// operations. Figures count the bytes of blocks in use (rounded to their size class).
public enum Memory {
  /// Bytes in use by tensors now.
  public static var currentBytes: Int { state.withLock { $0.live } }
  /// The most bytes in use at once since the start or the last `resetPeak`.
  public static var peakBytes: Int { state.withLock { $0.peak } }
  /// Bytes of free blocks that are kept for reuse.
  public static var cachedBytes: Int { state.withLock { $0.cached } }
  /// The most bytes of free blocks that are kept.
  public static var cacheLimit: Int {
    get { state.withLock { $0.cacheLimit } }
    set {
      let dropped = state.withLock { state in
        state.cacheLimit = newValue
        return state.trim()
      }
      dropped.forEach(release)
    }
  }

  /// Starts a new measurement of `peakBytes` from what is in use now.
  public static func resetPeak() { state.withLock { $0.peak = $0.live } }

  /// Returns all free blocks to the system.
  public static func releaseCache() {
    let dropped = state.withLock { state in
      let limit = state.cacheLimit
      state.cacheLimit = 0
      defer { state.cacheLimit = limit }
      return state.trim()
    }
    dropped.forEach(release)
  }

  /// Throws where the system would refuse `byteCount` bytes more, or take the process down for them: its limit of
  /// address space and its control groups count. The bytes are not kept.
  public static func preflight(byteCount: Int) throws(MemoryError) {
    let size = Swift.max(byteCount, 1)
    // Free blocks that are kept count as had: they are reused, or given back here.
    if size > availableBytes { releaseCache() }
    if size <= availableBytes {
      if isGranted(size) { return }
      releaseCache()
      if isGranted(size) { return }
    }
    throw MemoryError(requestedBytes: byteCount)
  }

  private static func isGranted(_ size: Int) -> Bool {
    let pointer = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let pointer, pointer != MAP_FAILED else {
      // Whoever looks at it later must not take it for a failure of his own.
      errno = 0
      return false
    }
    munmap(pointer, size)
    return true
  }

  /// Sets what happens where the system refuses memory in the middle of an operation, from which nothing can be thrown.
  ///
  /// The default stops the process with a message. A program that has something to put in order first does it here; the
  /// handler is given the bytes that were asked for, must not take memory, and may run on any thread.
  public static func onRefusal(_ handler: @escaping @Sendable (_ byteCount: Int) -> Never) {
    refusalHandler.withLock { $0 = handler }
  }

  /// Ends the process because `byteCount` bytes were refused; see `onRefusal`.
  public static func refused(_ byteCount: Int) -> Never {
    if let handler = refusalHandler.withLock({ $0 }) { handler(byteCount) }
    fatalError("out of memory: the system refused \(byteCount) bytes")
  }

  private static let refusalHandler = Mutex<(@Sendable (Int) -> Never)?>(nil)

  // MARK: Blocks

  private struct Block { var pointer: UInt, size: Int }
  private struct State {
    var free: [Int: [UInt]] = [:]
    var live = 0
    var peak = 0
    var cached = 0
    var cacheLimit = 1 << 30

    mutating func trim() -> [Block] {
      var dropped: [Block] = []
      if cached <= cacheLimit { return dropped }
      for size in free.keys.sorted(by: >) {
        while cached > cacheLimit, let pointer = free[size]?.popLast() {
          cached -= size
          dropped.append(Block(pointer: pointer, size: size))
        }
        if cached <= cacheLimit { break }
      }
      return dropped
    }
  }
  private static let state = Mutex(State())
  private static let hugePage = 2 << 20
  /// Blocks of this size and more are mapped; a multiple of pages like every size class above it.
  private static let mappedSize = 2 * hugePage

  /// Rounds up to one of eight sizes per power of two, so that freed blocks fit again.
  private static func sizeClass(_ byteCount: Int) -> Int {
    let size = Swift.max(byteCount, 64)
    if size <= 4096 { return (size + 63) & ~63 }
    let step = Swift.max(64, 1 << (Int.bitWidth - 1 - (size - 1).leadingZeroBitCount - 3))
    return (size + step - 1) / step * step
  }

  static func allocate(_ byteCount: Int) -> UnsafeMutableRawPointer {
    let size = sizeClass(byteCount)
    let cached = state.withLock { state -> UInt? in
      state.live += size
      state.peak = Swift.max(state.peak, state.live)
      guard let pointer = state.free[size]?.popLast() else { return nil }
      state.cached -= size
      return pointer
    }
    if let cached { return UnsafeMutableRawPointer(bitPattern: cached)! }
    if let pointer = systemAllocate(size) { return pointer }
    releaseCache()
    if let pointer = systemAllocate(size) { return pointer }
    // Nothing below an operation can recover from this; pipelines call `preflight` first.
    refused(size)
  }

  private static func systemAllocate(_ size: Int) -> UnsafeMutableRawPointer? {
    guard size >= mappedSize else {
      var pointer: UnsafeMutableRawPointer?
      return posix_memalign(&pointer, 64, size) == 0 ? pointer : nil
    }
    // Mapped for itself, so that what is released goes back to the system whatever lies around it.
    let whole = mmap(
      nil, size + hugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let whole, whole != MAP_FAILED else { return nil }
    let pointer = whole.alignedUp(toMultipleOf: hugePage)
    let before = pointer - whole
    if before > 0 { munmap(whole, before) }
    munmap(pointer + size, hugePage - before)
    madvise(pointer, size, 14 /* MADV_HUGEPAGE */)
    return pointer
  }

  static func deallocate(_ pointer: UnsafeMutableRawPointer, _ byteCount: Int) {
    let size = sizeClass(byteCount)
    let dropped = state.withLock { state in
      state.live -= size
      state.cached += size
      state.free[size, default: []].append(UInt(bitPattern: pointer))
      return state.trim()
    }
    dropped.forEach(release)
  }

  private static func release(_ block: Block) {
    let pointer = UnsafeMutableRawPointer(bitPattern: block.pointer)
    if block.size >= mappedSize { munmap(pointer, block.size) } else { free(pointer) }
  }
}

/// Memory that the system refused.
public struct MemoryError: Error, Equatable, CustomStringConvertible {
  public let requestedBytes: Int

  public init(requestedBytes: Int) { self.requestedBytes = requestedBytes }

  public var description: String {
    "the system refused \(requestedBytes / 1_048_576) MiB of memory; use a smaller tile or segment"
  }
}
