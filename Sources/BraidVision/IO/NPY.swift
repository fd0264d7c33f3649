import BraidFiles
import Glibc

/// NumPy's array files: float32 in C order is written; float32, float64, uint8 and uint16 are read.
public enum NPY {
  /// Writes `values` with `shape` to `path`, whole or not at all; throws `ImageError`.
  public static func write(_ values: [Float], shape: [Int], to path: String) throws {
    let file = try AtomicFile(path) { ImageError($0) }
    try write(values, shape: shape, to: file)
    try file.commit()
  }

  static func write(_ values: [Float], shape: [Int], to file: AtomicFile) throws {
    precondition(shape.reduce(1, *) == values.count, "NPY: \(values.count) values for \(shape)")
    try NPYWriter.header(shape).withUnsafeBytes { try file.write($0) }
    try values.withUnsafeBytes { try file.write($0) }
  }

  /// The values and shape in an array file's bytes, integers as they are; throws `ImageError`.
  public static func read(bytes: [UInt8], path: String = "<bytes>") throws -> (values: [Float], shape: [Int])
  {
    func corrupt(_ reason: String) -> ImageError { .corrupt(path: path, reason: "NPY: \(reason)") }
    guard bytes.count >= 12, bytes.starts(with: [0x93] + Array("NUMPY".utf8)) else {
      throw corrupt("no NPY header")
    }
    let long = bytes[6] >= 2
    let length =
      long
      ? Int(bytes[8]) | Int(bytes[9]) << 8 | Int(bytes[10]) << 16 | Int(bytes[11]) << 24
      : Int(bytes[8]) | Int(bytes[9]) << 8
    let start = (long ? 12 : 10) + length
    guard start <= bytes.count else {
      throw ImageError.truncated(path: path, reason: "NPY: the header ends too early")
    }
    let text = String(decoding: bytes[(long ? 12 : 10)..<start], as: UTF8.self)
    guard text.contains("'fortran_order': False") else { throw corrupt("not in C order") }
    guard let open = text.firstIndex(of: "("), let end = text[open...].firstIndex(of: ")") else {
      throw corrupt("no shape")
    }
    var shape: [Int] = []
    var count = 1
    for part in text[text.index(after: open)..<end].split(separator: ",") {
      let digits = part.filter { $0 != " " }
      if digits.isEmpty { continue }
      guard let size = Int(digits), size >= 0 else { throw corrupt("the shape has \(part)") }
      let (product, overflow) = count.multipliedReportingOverflow(by: size)
      if overflow { throw corrupt("an impossible shape") }
      shape.append(size)
      count = product
    }
    let kinds: [(String, Int)] = [("<f4", 4), ("<f8", 8), ("|u1", 1), ("<u2", 2)]
    guard let (kind, size) = kinds.first(where: { text.contains("'\($0.0)'") }) else {
      throw ImageError.unsupported(path: path, reason: "NPY: element types other than f4, f8, u1 and u2")
    }
    guard count <= (bytes.count - start) / size else {
      throw ImageError.truncated(path: path, reason: "NPY: fewer values than the shape \(shape) needs")
    }
    let values = bytes.withUnsafeBytes { raw in
      (0..<count).map { i -> Float in
        let at = start + i * size
        return switch kind {
        case "<f4": raw.loadUnaligned(fromByteOffset: at, as: Float.self)
        case "<f8": Float(raw.loadUnaligned(fromByteOffset: at, as: Double.self))
        case "<u2": Float(raw.loadUnaligned(fromByteOffset: at, as: UInt16.self))
        default: Float(raw[at])
        }
      }
    }
    return (values, shape)
  }
}
