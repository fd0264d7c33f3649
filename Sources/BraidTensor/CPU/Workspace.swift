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
