@testable import BraidCheckpoint

/// Writes zip archives of uncompressed entries.
enum StoredZip {
  static func archive(_ entries: [(name: String, data: [UInt8])]) -> [UInt8] {
    var bytes: [UInt8] = []
    var directory: [UInt8] = []
    func short(_ value: Int) -> [UInt8] { [UInt8(value & 0xFF), UInt8(value >> 8 & 0xFF)] }
    func word(_ value: Int) -> [UInt8] { short(value & 0xFFFF) + short(value >> 16 & 0xFFFF) }
    for entry in entries {
      let offset = bytes.count
      let checksum = Int(entry.data.withUnsafeBytes { CRC32.checksum($0) })
      let common =
        short(0) + short(0) + word(0) + word(checksum) + word(entry.data.count) + word(entry.data.count)
        + short(entry.name.utf8.count) + short(0)
      bytes += word(0x0403_4B50) + short(20) + common + Array(entry.name.utf8) + entry.data
      directory +=
        word(0x0201_4B50) + short(20) + short(20) + common + short(0) + short(0) + short(0) + word(0)
        + word(offset) + Array(entry.name.utf8)
    }
    let start = bytes.count
    bytes += directory
    bytes +=
      word(0x0605_4B50) + short(0) + short(0) + short(entries.count) + short(entries.count)
      + word(directory.count) + word(start) + short(0)
    return bytes
  }
}
