import Testing

@testable import BraidTensor

@Suite struct MemoryTests {
  /// More than any machine has is refused by an error, and nothing is held afterwards.
  @Test(arguments: [1 << 50, 1 << 60, Int.max])
  func whatCannotBeHadIsRefused(byteCount: Int) {
    #expect(throws: MemoryError(requestedBytes: byteCount)) { try Memory.preflight(byteCount: byteCount) }
    #expect(Memory.availableBytes > 0 && Memory.availableBytes < 1 << 50)
  }

  @Test func whatIsThereIsGranted() throws {
    try Memory.preflight(byteCount: 0)
    try Memory.preflight(byteCount: 1 << 20)
  }

  /// Below and above the size from which blocks are mapped: aligned, writable to the last byte, released.
  @Test(arguments: [1, 4095, 4_194_303, 4_194_304, 4_194_305, 9_999_999])
  func blocksAreWholeAndAligned(byteCount: Int) {
    let pointer = Memory.allocate(byteCount)
    #expect(UInt(bitPattern: pointer) % 64 == 0)
    pointer.storeBytes(of: 1, toByteOffset: 0, as: UInt8.self)
    pointer.storeBytes(of: 2, toByteOffset: byteCount - 1, as: UInt8.self)
    #expect(pointer.load(fromByteOffset: byteCount - 1, as: UInt8.self) == 2)
    Memory.deallocate(pointer, byteCount)
    Memory.releaseCache()
  }
}
