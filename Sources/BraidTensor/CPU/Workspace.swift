/// Scratch memory for the length of one kernel call, with undefined content.
struct Workspace {
  let pointer: UnsafeMutablePointer<Float>
  private let byteCount: Int

  init(floats: Int) {
    byteCount = floats * 4
    pointer = Memory.allocate(byteCount).assumingMemoryBound(to: Float.self)
  }

  func release() { Memory.deallocate(pointer, byteCount) }
}

/// Numbers derived from a weight, kept as long as it.
final class DerivedNumbers: Sendable {
  let count: Int
  nonisolated(unsafe) let pointer: UnsafeMutablePointer<Float>

  init(count: Int) {
    self.count = count
    pointer = Memory.allocate(count * 4).assumingMemoryBound(to: Float.self)
  }

  deinit { Memory.deallocate(pointer, count * 4) }
}
