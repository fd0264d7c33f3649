import CBraidFiles
import Glibc
import Synchronization

/// A file that appears under its name only once it is whole.
///
/// Bytes go to a temporary file in the same folder; `commit` syncs it and renames it over the target. A file
/// that is never committed is removed. Targets that are devices or pipes are written directly.
/// Not for use by several tasks at once.
public final class AtomicFile {
  private let path: String
  private let target: String
  private var temporary: String?
  private var slot: Int32 = -1
  private var descriptor: Int32

  private let failure: (FileFailure) -> any Error

  /// Opens a temporary file beside `path`.
  ///
  /// - Parameter failure: the error to throw for what goes wrong, here and later.
  public init(_ path: String, failure: @escaping (FileFailure) -> any Error = { $0 }) throws {
    func refuse(_ reason: String) -> any Error {
      failure(FileFailure(step: .create, path: path, reason: reason))
    }
    self.path = path
    self.failure = failure
    guard !path.isEmpty, !path.utf8.contains(0) else { throw refuse("not a file name") }
    var status = stat()
    var mode: mode_t = 0o666
    // A link keeps pointing where it does: its target is replaced, not the link.
    var resolved = path
    if stat(path, &status) == 0 {
      switch status.st_mode & S_IFMT {
      case S_IFDIR: throw refuse("a folder of that name exists")
      case S_IFREG:
        mode = status.st_mode & 0o777
        if access(path, W_OK) != 0 { throw refuse(systemMessage(errno)) }
        if let real = realpath(path, nil) {
          resolved = String(cString: real)
          free(real)
        }
      default:
        target = path
        descriptor = open(path, O_WRONLY | O_CLOEXEC)
        if descriptor < 0 { throw refuse(systemMessage(errno)) }
        return
      }
    }
    // A new file in the link's place would be found by nobody who follows the link.
    if lstat(resolved, &status) == 0, status.st_mode & S_IFMT == S_IFLNK {
      throw refuse("it is a link that leads nowhere")
    }
    target = resolved
    let slash = resolved.lastIndex(of: "/").map { resolved.index(after: $0) } ?? resolved.startIndex
    let folder = resolved[..<slash]
    guard slash != resolved.endIndex else { throw refuse("the path names a folder") }
    // The name stays recognisable, and within the 255 bytes that file systems allow.
    let stem = String(decoding: resolved[slash...].utf8.prefix(180), as: UTF8.self)
    for _ in 0..<100 {
      let number = AtomicFile.counter.wrappingAdd(1, ordering: .relaxed).newValue
      let candidate = "\(folder).\(stem).\(getpid())-\(number).tmp"
      // In the table first: a signal between the two lines must find it.
      let entry = braid_temporary_add(candidate)
      let file = open(candidate, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
      if file >= 0 {
        (descriptor, slot, temporary) = (file, entry, candidate)
        return
      }
      let code = errno
      braid_temporary_remove(entry)
      if code != EEXIST { throw refuse(systemMessage(code)) }
    }
    throw refuse("no free temporary name")
  }

  deinit { discard() }

  /// Appends bytes; where that fails nothing is left of the file.
  public func write(_ bytes: UnsafeRawBufferPointer) throws {
    precondition(descriptor >= 0, "AtomicFile.write after commit")
    var offset = 0
    while offset < bytes.count {
      let count = Glibc.write(descriptor, bytes.baseAddress! + offset, bytes.count - offset)
      if count < 0 {
        if errno == EINTR { continue }
        throw failed(errno)
      }
      offset += count
    }
  }

  /// Appends text in UTF-8.
  public func write(_ text: String) throws {
    var text = text
    try text.withUTF8 { try write(UnsafeRawBufferPointer($0)) }
  }

  /// Lends the file's descriptor to a library that writes by itself.
  public func withDescriptor<Result>(_ body: (Int32) throws -> Result) rethrows -> Result {
    precondition(descriptor >= 0, "AtomicFile.withDescriptor after commit")
    return try body(descriptor)
  }

  /// Makes the file durable and gives it its name.
  public func commit() throws {
    precondition(descriptor >= 0, "AtomicFile.commit twice")
    guard let temporary else {
      let result = close(descriptor)
      descriptor = -1
      if result != 0 { throw failed(errno) }
      return
    }
    if fsync(descriptor) != 0 && errno != EINVAL && errno != ENOTSUP { throw failed(errno) }
    let result = close(descriptor)
    descriptor = -1
    if result != 0 && errno != EINTR { throw failed(errno) }
    if rename(temporary, target) != 0 { throw failed(errno) }
    braid_temporary_remove(slot)
    self.temporary = nil
  }

  private func failed(_ code: Int32) -> any Error {
    discard()
    return failure(FileFailure(step: .write, path: path, reason: systemMessage(code)))
  }

  private func discard() {
    if descriptor >= 0 { close(descriptor) }
    descriptor = -1
    if let temporary {
      unlink(temporary)
      braid_temporary_remove(slot)
    }
    temporary = nil
  }

  private static let counter = Atomic<Int>(0)
}
