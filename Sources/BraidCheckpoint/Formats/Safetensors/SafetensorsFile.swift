import BraidTensor
import OrderedCollections

/// One safetensors file: 8 bytes of header length, a JSON header, then the tensors without gaps.
///
/// Source: the format's description in huggingface/safetensors.
struct SafetensorsFile {
  var tensors: OrderedDictionary<String, StoredTensor> = [:]
  var metadata: OrderedDictionary<String, String> = [:]

  /// The header may be no longer than this, as in the reference implementation.
  static let maximumHeader = 100_000_000

  /// Whether the content looks like a safetensors file.
  static func recognizes(_ region: ByteRegion) -> Bool {
    guard let length = region.integer(UInt64.self, at: 0) else { return false }
    return length >= 2 && length <= UInt64(maximumHeader) && region.hasBytes([UInt8(ascii: "{")], at: 8)
  }

  init(_ region: ByteRegion, path: String) throws {
    guard let length = region.integer(UInt64.self, at: 0) else {
      throw CheckpointError.malformed(path: path, offset: 0, reason: "shorter than a safetensors header")
    }
    guard length <= UInt64(Self.maximumHeader) else {
      throw CheckpointError.limitExceeded(path: path, reason: "a header of \(length) bytes")
    }
    guard Int(length) <= region.count - 8 else {
      throw CheckpointError.malformed(
        path: path, offset: 0, reason: "a header of \(length) bytes in a file of \(region.count)")
    }
    let dataStart = 8 + Int(length)
    var spans: [(range: Range<Int>, key: String)] = []
    var reader = JSONReader(region.slice(8..<dataStart), path: path, fileOffset: 8)
    try reader.object { reader, key in
      if key == "__metadata__" {
        try reader.object { reader, name in metadata[name] = try reader.string() }
        return
      }
      let (tensor, range) = try Self.tensor(
        key, &reader, region: region, data: dataStart..<region.count, path: path)
      tensors[key] = tensor
      spans.append((range, key))
    }
    try reader.end()
    // Every byte belongs to exactly one tensor: what is hidden in gaps or read twice is a damaged file.
    spans.sort { ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound) }
    var end = dataStart
    for span in spans {
      guard span.range.lowerBound == end else {
        let fault = span.range.lowerBound < end ? "overlaps the tensor before it" : "leaves a gap before it"
        throw CheckpointError.malformed(
          path: path, offset: span.range.lowerBound, reason: "\"\(span.key.truncated(to: 200))\" \(fault)")
      }
      end = span.range.upperBound
    }
    guard end == region.count else {
      throw CheckpointError.malformed(
        path: path, offset: end, reason: "\(region.count - end) bytes that belong to no tensor")
    }
  }

  private static func tensor(
    _ key: String, _ reader: inout JSONReader, region: ByteRegion, data: Range<Int>, path: String
  ) throws -> (StoredTensor, Range<Int>) {
    let place = 8 + reader.position
    func failure(_ reason: String) -> CheckpointError {
      .malformed(path: path, offset: place, reason: "\"\(key.truncated(to: 200))\": \(reason)")
    }
    var name: String?
    var shape: [Int]?
    var offsets: [Int]?
    func counts(_ reader: inout JSONReader, limit: Int) throws -> [Int] {
      var result: [Int] = []
      try reader.array { reader in
        guard result.count < limit else { throw failure("more than \(limit) numbers") }
        result.append(try reader.count())
      }
      return result
    }
    try reader.object { reader, field in
      switch field {
      case "dtype": name = try reader.string()
      case "shape": shape = try counts(&reader, limit: StoredTensor.maximumRank)
      case "data_offsets": offsets = try counts(&reader, limit: 2)
      default: try reader.skip()
      }
    }
    guard let name, let shape, let offsets, offsets.count == 2 else {
      throw failure("needs dtype, shape and two data_offsets")
    }
    guard let type = StoredType(rawValue: name) else {
      throw CheckpointError.unsupported(
        path: path, reason: "\"\(key.truncated(to: 200))\" has the element type \(name.truncated(to: 40))")
    }
    guard offsets[0] <= offsets[1], offsets[1] <= data.count else {
      throw failure("data_offsets \(offsets) in \(data.count) bytes of data")
    }
    let range = data.lowerBound + offsets[0]..<data.lowerBound + offsets[1]
    guard let count = shape.reduce(1, checkedProduct), let size = checkedProduct(count, type.byteCount),
      size == range.count
    else { throw failure("shape \(shape) of \(name) does not fill \(range.count) bytes") }
    switch StoredTensor.make(
      region: region, bytes: range, elementOffset: 0, storedType: type, dimensions: shape, strides: nil)
    {
    case .success(let tensor): return (tensor, range)
    case .failure(let reason): throw failure(reason.text)
    }
  }
}
