/// A NumPy array file of float32 in C order (format version 1.0) whose values come in pieces; it appears under its
/// name only once it is whole.
public final class NPYWriter {
  private let file: AtomicFile
  private var missing: Int

  /// Begins the file at `path`.
  ///
  /// - Parameter failure: the error to throw for what goes wrong, here and later.
  public init(
    _ path: String, shape: [Int], failure: @escaping (FileFailure) -> any Error = { $0 }
  ) throws {
    file = try AtomicFile(path, failure: failure)
    missing = shape.reduce(1, *)
    try Self.header(shape).withUnsafeBytes { try file.write($0) }
  }

  /// Appends values in row-major order.
  public func write(_ values: UnsafeBufferPointer<Float>) throws {
    precondition(values.count <= missing, "NPYWriter: \(values.count) values, \(missing) are missing")
    missing -= values.count
    try file.write(UnsafeRawBufferPointer(values))
  }

  /// Makes the file durable and gives it its name.
  public func commit() throws {
    precondition(missing == 0, "NPYWriter: \(missing) values are missing")
    try file.commit()
  }

  /// The bytes that stand before the values.
  public static func header(_ shape: [Int]) -> [UInt8] {
    let sizes = shape.map(String.init).joined(separator: ", ") + (shape.count == 1 ? "," : "")
    var text = "{'descr': '<f4', 'fortran_order': False, 'shape': (\(sizes)), }"
    // The values begin at a multiple of 64.
    while (10 + text.utf8.count + 1) % 64 != 0 { text += " " }
    text += "\n"
    let count = text.utf8.count
    return [0x93] + Array("NUMPY".utf8) + [1, 0, UInt8(count & 255), UInt8(count >> 8)] + Array(text.utf8)
  }
}
