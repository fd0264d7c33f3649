import Foundation

/// Which file a path leads to, links followed.
struct FileIdentity: Hashable {
  enum Kind: Hashable {
    case regular
    case folder
    /// A pipe, a device, a socket.
    case other
  }
  let device: dev_t
  let inode: ino_t
  let kind: Kind

  /// The file at `path`, or nil where there is none.
  init?(_ path: String) {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    (device, inode) = (status.st_dev, status.st_ino)
    switch status.st_mode & S_IFMT {
    case S_IFREG: kind = .regular
    case S_IFDIR: kind = .folder
    default: kind = .other
    }
  }
}
