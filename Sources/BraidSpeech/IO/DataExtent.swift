import Foundation

/// How many bytes of samples a file's header promises, and how many follow it.
///
/// libsndfile takes what is there for the whole; whether that is so is told by the sizes that WAV (RIFF, RIFX, RF64),
/// AIFF, W64 and AU files begin with.
struct DataExtent: Equatable {
  let promised: Int
  let present: Int

  init(promised: Int, present: Int) {
    self.promised = promised
    self.present = present
  }

  /// The extent of the file at `path`; nil where it is of another kind, is no regular file, or was written to a pipe
  /// by a program that could not fill in the size.
  init?(_ path: String) {
    guard let file = Window(path), let kind = file.text(0, 4) else { return nil }
    switch kind {
    case "RIFF", "RF64", "BW64": self.init(file, first: 12, data: "data")
    case "RIFX": self.init(file, first: 12, data: "data", isBigEndian: true)
    case "FORM": self.init(file, first: 12, data: "SSND", isBigEndian: true, offset: 8)
    case "riff": self.init(wave64: file)
    case ".snd", "dns.":
      let isBigEndian = kind == ".snd"
      guard let start = file.number(4, 4, isBigEndian), let size = file.number(8, 4, isBigEndian),
        !Self.isOpen(size)
      else { return nil }
      self.init(promised: size, present: max(0, file.size - start))
    default: return nil
    }
  }

  /// Files of chunks: four letters, a size of four bytes, and as many bytes (rounded up to an even number).
  ///
  /// - Parameter offset: bytes of the chunk that stand before the samples.
  private init?(_ file: Window, first: Int, data: String, isBigEndian: Bool = false, offset: Int = 0) {
    var place = first
    var longSize: Int?
    for _ in 0..<10_000 {
      guard let name = file.text(place, 4), let size = file.number(place + 4, 4, isBigEndian) else {
        return nil
      }
      if name == "ds64" { longSize = file.number(place + 16, 8, isBigEndian) }
      if name == data {
        let isLong = size == 0xFFFF_FFFF && longSize != nil
        guard let promised = isLong ? longSize : size, isLong || !Self.isOpen(promised) else { return nil }
        self.init(
          promised: max(0, promised - offset), present: max(0, file.size - place - 8 - offset))
        return
      }
      place += 8 + size + size % 2
    }
    return nil
  }

  /// Sony's W64: names of 16 bytes, sizes of eight that count name and size, chunks at multiples of eight.
  private init?(wave64 file: Window) {
    var place = 40
    for _ in 0..<10_000 {
      guard let name = file.text(place, 4), let size = file.number(place + 16, 8, false), size >= 24 else {
        return nil
      }
      if name == "data" {
        self.init(promised: size - 24, present: max(0, file.size - place - 24))
        return
      }
      place += (size + 7) / 8 * 8
    }
    return nil
  }

  /// Whether a size of four bytes is one that programs put there who do not know it: the largest with or without a
  /// sign, less a header.
  private static func isOpen(_ size: Int) -> Bool {
    size >= 0xFFFF_0000 || (0x7FFF_0000...0x8000_FFFF).contains(size)
  }

  /// Whether the last page of an Ogg file is whole and marked as the last; nil where the file is none.
  static func oggEnds(_ path: String) -> Bool? {
    guard let file = Window(path), file.text(0, 4) == "OggS" else { return nil }
    // A page has 65,307 bytes at most.
    let start = max(0, file.size - 65_536)
    guard let bytes = file.bytes(start, file.size - start) else { return nil }
    let sign = Array("OggS".utf8)
    guard bytes.count >= 27 else { return false }
    for place in stride(from: bytes.count - 27, through: 0, by: -1)
    where bytes[place] == sign[0] && Array(bytes[place..<place + 4]) == sign {
      let segments = Int(bytes[place + 26])
      let body = place + 27 + segments
      guard body <= bytes.count else { return false }
      let size = bytes[place + 27..<body].reduce(0) { $0 + Int($1) }
      return body + size <= bytes.count && bytes[place + 5] & 4 != 0
    }
    return false
  }
}

/// A regular file of which a few bytes are read.
private final class Window {
  let size: Int
  private let descriptor: Int32

  init?(_ path: String) {
    var status = stat()
    // What is no regular file may wait for a writer when it is opened.
    guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
    descriptor = open(path, O_RDONLY | O_CLOEXEC)
    size = Int(status.st_size)
    if descriptor < 0 { return nil }
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  func bytes(_ offset: Int, _ count: Int) -> [UInt8]? {
    guard offset >= 0, count >= 0, offset <= size - count else { return nil }
    var bytes = [UInt8](repeating: 0, count: count)
    return pread(descriptor, &bytes, count, offset) == count ? bytes : nil
  }

  func text(_ offset: Int, _ count: Int) -> String? {
    bytes(offset, count).map { String(decoding: $0, as: UTF8.self) }
  }

  /// A number without a sign; nil where it is too large for a size.
  func number(_ offset: Int, _ count: Int, _ isBigEndian: Bool) -> Int? {
    guard let bytes = bytes(offset, count) else { return nil }
    let ordered = isBigEndian ? bytes : bytes.reversed()
    let number = ordered.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    return number < 1 << 48 ? Int(number) : nil
  }
}
