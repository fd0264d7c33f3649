/// The few fields of an EXIF block (a TIFF structure) that Braid reads or changes; the rest stays as it is.
struct Exif {
  private(set) var bytes: [UInt8]
  private let bigEndian: Bool

  /// A view of `bytes`, or nil where they are no TIFF structure.
  init?(_ bytes: [UInt8]) {
    guard bytes.count >= 14 else { return nil }
    switch (bytes[0], bytes[1]) {
    case (0x49, 0x49): bigEndian = false
    case (0x4D, 0x4D): bigEndian = true
    default: return nil
    }
    self.bytes = bytes
    guard read16(2) == 42 else { return nil }
  }

  /// The orientation 1...8; 1 where the block states none or a wrong one.
  var orientation: Int {
    guard let entry = entry(0x0112, in: firstDirectory), read16(entry + 2) == 3 else { return 1 }
    let value = read16(entry + 8)
    return (1...8).contains(value) ? value : 1
  }

  /// Sets the orientation to 1 where it is stated, and unlinks the thumbnail, which is turned the old way.
  mutating func resetOrientation() {
    guard let entry = entry(0x0112, in: firstDirectory), read16(entry + 2) == 3 else { return }
    write16(1, at: entry + 8)
    let next = firstDirectory + 2 + 12 * read16(firstDirectory)
    if next + 4 <= bytes.count { for i in 0..<4 { bytes[next + i] = 0 } }
  }

  /// Sets the picture's size where the block states one.
  mutating func setSize(width: Int, height: Int) {
    set(0x0100, to: width, in: firstDirectory)
    set(0x0101, to: height, in: firstDirectory)
    guard let link = entry(0x8769, in: firstDirectory) else { return }
    let directory = read32(link + 8)
    set(0xA002, to: width, in: directory)
    set(0xA003, to: height, in: directory)
  }

  private mutating func set(_ tag: Int, to value: Int, in directory: Int) {
    guard let entry = entry(tag, in: directory) else { return }
    switch read16(entry + 2) {
    case 3 where value <= 0xFFFF: write16(value, at: entry + 8)
    case 4 where value <= 0xFFFF_FFFF:
      write16(bigEndian ? value >> 16 : value & 0xFFFF, at: entry + 8)
      write16(bigEndian ? value & 0xFFFF : value >> 16, at: entry + 10)
    default: break
    }
  }

  private var firstDirectory: Int { read32(4) }

  /// The offset of the directory entry with `tag`; every entry that comes back lies inside the block.
  private func entry(_ tag: Int, in directory: Int) -> Int? {
    guard directory >= 8, directory + 2 <= bytes.count else { return nil }
    for index in 0..<read16(directory) {
      let offset = directory + 2 + 12 * index
      guard offset + 12 <= bytes.count else { return nil }
      if read16(offset) == tag { return offset }
    }
    return nil
  }

  private func read16(_ offset: Int) -> Int {
    guard offset >= 0, offset + 2 <= bytes.count else { return 0 }
    let (a, b) = (Int(bytes[offset]), Int(bytes[offset + 1]))
    return bigEndian ? a << 8 | b : b << 8 | a
  }

  private func read32(_ offset: Int) -> Int {
    let (a, b) = (read16(offset), read16(offset + 2))
    return bigEndian ? a << 16 | b : b << 16 | a
  }

  private mutating func write16(_ value: Int, at offset: Int) {
    bytes[offset] = UInt8(truncatingIfNeeded: bigEndian ? value >> 8 : value)
    bytes[offset + 1] = UInt8(truncatingIfNeeded: bigEndian ? value : value >> 8)
  }
}
