import BraidTensor
import Glibc

/// A feature map [1, H, W, C] in float32, in memory or in an unlinked temporary file.
final class FeatureMap {
  let tensor: Tensor

  /// A map with undefined content.
  ///
  /// - Parameter spills: whether it lies in a file in TMPDIR (/tmp where unset), which goes with the process.
  /// - Throws: `MemoryError` where neither memory nor disk has room.
  init(height: Int, width: Int, channels: Int, spills: Bool) throws {
    let shape: Shape = [1, height, width, channels]
    let count = shape.elementCount * 4
    guard spills else {
      try Memory.preflight(byteCount: count)
      tensor = .uninitialized(shape)
      return
    }
    let folder = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    var template = Array((folder + "/braid-map-XXXXXX").utf8CString)
    let file = mkstemp(&template)
    guard file >= 0 else { throw MemoryError(requestedBytes: count) }
    unlink(&template)
    defer { close(file) }
    // Taken now: writing to a mapped file on a full disk would be a signal later.
    guard posix_fallocate(file, 0, count) == 0,
      let pointer = mmap(nil, count, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0), pointer != MAP_FAILED
    else { throw MemoryError(requestedBytes: count) }
    tensor = Tensor(
      storage: Storage(
        foreign: pointer, byteCount: count, owner: Mapping(pointer: pointer, byteCount: count)),
      shape: shape, dtype: .float32)
  }

  private final class Mapping {
    let pointer: UnsafeMutableRawPointer
    let byteCount: Int
    init(pointer: UnsafeMutableRawPointer, byteCount: Int) {
      self.pointer = pointer
      self.byteCount = byteCount
    }
    deinit { munmap(pointer, byteCount) }
  }

  /// A copy of the rectangle.
  subscript(rows: Range<Int>, columns: Range<Int>) -> Tensor {
    tensor.sliced(axis: 1, rows).sliced(axis: 2, columns).duplicated()
  }

  /// Overwrites the rectangle.
  func store(_ values: Tensor, rows: Range<Int>, columns: Range<Int>) {
    tensor.sliced(axis: 1, rows).sliced(axis: 2, columns).overwrite(with: values)
  }
}
