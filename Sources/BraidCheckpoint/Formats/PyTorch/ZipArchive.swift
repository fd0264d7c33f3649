import BraidTensor
import OrderedCollections

/// The entries of a zip archive, found by its central directory (zip64 included).
struct ZipArchive {
  /// One file of the archive.
  struct Entry {
    var data: Range<Int>
    var size: Int
    var checksum: UInt32
    var isDeflated: Bool
  }

  let region: ByteRegion
  let path: String
  private(set) var entries: OrderedDictionary<String, Entry> = [:]
  /// How many more bytes may be inflated: a zip bomb stops here.
  private var budget: Int

  init(_ region: ByteRegion, path: String) throws {
    self.region = region
    self.path = path
    budget = 16 * region.count + 1 << 20
    var (place, end, count) = try Self.directory(region, path: path)
    for _ in 0..<count {
      guard place <= end - 46, region.integer(UInt32.self, at: place) == 0x0201_4B50 else {
        throw CheckpointError.malformed(path: path, offset: place, reason: "zip: no directory entry here")
      }
      place = try readEntry(at: place, end: end)
    }
  }

  /// Where the central directory stands and how many entries it lists.
  private static func directory(_ region: ByteRegion, path: String) throws -> (Int, Int, Int) {
    func number<T: FixedWidthInteger>(_ type: T.Type, _ offset: Int) throws -> Int {
      guard let value = region.integer(type, at: offset), let result = Int(exactly: value) else {
        throw CheckpointError.malformed(path: path, offset: offset, reason: "zip: an impossible number")
      }
      return result
    }
    var tail = region.count - 22
    let lowest = max(0, tail - 65535)
    while tail >= lowest {
      if region.integer(UInt32.self, at: tail) == 0x0605_4B50,
        try number(UInt16.self, tail + 20) == region.count - tail - 22
      {
        break
      }
      tail -= 1
    }
    guard tail >= lowest else {
      throw CheckpointError.malformed(
        path: path, offset: nil, reason: "zip: no end of the directory; the file is cut short")
    }
    var count = try number(UInt16.self, tail + 10)
    var size = try number(UInt32.self, tail + 12)
    var start = try number(UInt32.self, tail + 16)
    if region.integer(UInt32.self, at: tail - 20) == 0x0706_4B50 {
      let record = try number(UInt64.self, tail - 20 + 8)
      guard region.count >= 56, record <= region.count - 56,
        region.integer(UInt32.self, at: record) == 0x0606_4B50
      else {
        throw CheckpointError.malformed(path: path, offset: tail - 20, reason: "zip64: no directory record")
      }
      count = try number(UInt64.self, record + 32)
      size = try number(UInt64.self, record + 40)
      start = try number(UInt64.self, record + 48)
    }
    guard start <= region.count, size <= region.count - start, count <= size / 46 else {
      throw CheckpointError.malformed(
        path: path, offset: tail, reason: "zip: \(count) entries in \(size) bytes at \(start)")
    }
    return (start, start + size, count)
  }

  private mutating func readEntry(at place: Int, end: Int) throws -> Int {
    func failure(_ reason: String) -> CheckpointError {
      .malformed(path: path, offset: place, reason: "zip: \(reason)")
    }
    // The caller has checked that the 46 bytes of the fixed part are there.
    func short(_ offset: Int) -> Int { Int(region.integer(UInt16.self, at: place + offset)!) }
    func word(_ offset: Int) -> Int { Int(region.integer(UInt32.self, at: place + offset)!) }
    let flags = short(8)
    let method = short(10)
    var compressed = word(20)
    var size = word(24)
    var header = word(42)
    let nameEnd = place + 46 + short(28)
    let extraEnd = nameEnd + short(30)
    let next = extraEnd + short(32)
    guard next <= end else { throw failure("an entry reaches past the directory") }
    guard let name = String(validating: region.slice(place + 46..<nameEnd), as: UTF8.self) else {
      throw failure("a name that is not UTF-8")
    }
    var extra = nameEnd
    while extra <= extraEnd - 4 {
      let identifier = region.integer(UInt16.self, at: extra)!
      let length = Int(region.integer(UInt16.self, at: extra + 2)!)
      guard length <= extraEnd - extra - 4 else { break }
      if identifier == 1 {
        var field = extra + 4
        func wide() throws -> Int {
          guard field <= extra + 4 + length - 8, let value = region.integer(UInt64.self, at: field),
            let result = Int(exactly: value)
          else { throw failure("zip64: an impossible size") }
          field += 8
          return result
        }
        if size == 0xFFFF_FFFF { size = try wide() }
        if compressed == 0xFFFF_FFFF { compressed = try wide() }
        if header == 0xFFFF_FFFF { header = try wide() }
      }
      extra += 4 + length
    }
    guard flags & 1 == 0 else {
      throw CheckpointError.unsupported(path: path, reason: "an encrypted zip entry")
    }
    guard method == 0 || method == 8 else {
      throw CheckpointError.unsupported(path: path, reason: "zip compression method \(method)")
    }
    guard region.integer(UInt32.self, at: header) == 0x0403_4B50,
      let localName = region.integer(UInt16.self, at: header + 26),
      let localExtra = region.integer(UInt16.self, at: header + 28)
    else { throw failure("no file at byte \(header)") }
    let start = header + 30 + Int(localName) + Int(localExtra)
    guard start <= region.count, compressed <= region.count - start else {
      throw failure("\"\(name.truncated(to: 200))\" reaches past the end of the file")
    }
    guard method == 8 || compressed == size else { throw failure("two sizes for one stored entry") }
    let entry = Entry(
      data: start..<start + compressed, size: size, checksum: UInt32(word(16)), isDeflated: method == 8)
    guard entries.updateValue(entry, forKey: name) == nil else {
      throw failure("\"\(name.truncated(to: 200))\" stands twice")
    }
    return next
  }

  /// The content of an entry: in place where it is stored, inflated within the archive's budget otherwise.
  mutating func content(of name: String) throws -> (region: ByteRegion, range: Range<Int>)? {
    guard let entry = entries[name] else { return nil }
    guard entry.isDeflated else { return (region, entry.data) }
    guard entry.size <= budget else {
      throw CheckpointError.limitExceeded(
        path: path,
        reason: "its zip entries inflate to more than 16 times the file's size; re-save it uncompressed")
    }
    // Deflate cannot expand by more than 1032; a larger claim is a lie, found before memory is taken.
    guard entry.size / 1032 <= entry.data.count else {
      throw CheckpointError.malformed(
        path: path, offset: entry.data.lowerBound, reason: "zip: a size that deflate cannot reach")
    }
    budget -= entry.size
    try Memory.preflight(byteCount: entry.size)
    let output = ByteRegion.block(count: entry.size)
    var inflater = Inflater(
      input: region.slice(entry.data),
      output: UnsafeMutableRawBufferPointer(start: output.base, count: output.count))
    guard inflater.run() else {
      throw CheckpointError.malformed(
        path: path, offset: entry.data.lowerBound, reason: "zip: a damaged deflate stream")
    }
    guard CRC32.checksum(output.bytes) == entry.checksum else {
      throw CheckpointError.malformed(
        path: path, offset: entry.data.lowerBound, reason: "zip: the checksum does not agree")
    }
    return (output, 0..<output.count)
  }
}
