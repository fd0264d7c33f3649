import BraidTensor

/// Where the elements of one tensor stand in a file: checked once when it is made, so that reading cannot fail.
struct StoredTensor: Sendable {
  let region: ByteRegion
  /// The first element's place in the region, in bytes.
  let byteOffset: Int
  let storedType: StoredType
  let shape: Shape
  /// Distances along each axis, in elements.
  let strides: [Int]
  let elementCount: Int
  let isContiguous: Bool

  /// A tensor over `bytes` (a range of the region), or the reason why it is impossible.
  static func make(
    region: ByteRegion, bytes: Range<Int>, elementOffset: Int, storedType: StoredType, dimensions: [Int],
    strides: [Int]?
  ) -> Result<StoredTensor, Reason> {
    guard dimensions.count <= maximumRank else { return .failure(Reason("\(dimensions.count) axes")) }
    guard elementOffset >= 0, dimensions.allSatisfy({ $0 >= 0 }) else {
      return .failure(Reason("a negative size or offset"))
    }
    // Zeros count as ones: a row-major stride is a product of sizes even where the tensor is empty.
    guard let bound = dimensions.reduce(1, { checkedProduct($0, max($1, 1)) }), bound <= Int.max / 16 else {
      return .failure(Reason("the shape \(dimensions) overflows"))
    }
    let shape = Shape(dimensions)
    let contiguous = shape.contiguousStrides
    let strides = strides ?? contiguous
    guard strides.count == dimensions.count, strides.allSatisfy({ $0 >= 0 }) else {
      return .failure(Reason("strides \(strides) for the shape \(dimensions)"))
    }
    let elementCount = shape.elementCount
    let capacity = bytes.count / storedType.byteCount
    var last: Int? = elementOffset
    if elementCount > 0 {
      for (size, stride) in zip(dimensions, strides) {
        guard let current = last, let step = checkedProduct(size - 1, stride) else { last = nil; break }
        let (sum, overflow) = current.addingReportingOverflow(step)
        last = overflow ? nil : sum
      }
      guard let last, last < capacity else {
        return .failure(
          Reason(
            "shape \(dimensions), strides \(strides), offset \(elementOffset) reach past the "
              + "\(capacity) elements stored"))
      }
    }
    let isContiguous = zip(dimensions, zip(strides, contiguous)).allSatisfy { $0 == 1 || $1.0 == $1.1 }
    return .success(
      StoredTensor(
        region: region,
        byteOffset: bytes.lowerBound + (elementCount > 0 ? elementOffset * storedType.byteCount : 0),
        storedType: storedType, shape: shape, strides: strides, elementCount: elementCount,
        isContiguous: isContiguous || elementCount == 0))
  }

  /// Why a tensor cannot stand where a file says.
  struct Reason: Error {
    let text: String
    init(_ text: String) { self.text = text }
  }

  /// More axes than any published tensor has.
  static let maximumRank = 16

  /// Bytes that the loaded elements take.
  var loadedByteCount: Int { elementCount * storedType.dtype.byteCount }

  /// Writes the elements in row-major order, converted to the loaded type.
  func copy(to out: UnsafeMutableRawPointer) {
    guard elementCount > 0 else { return }
    let source = UnsafeRawPointer(region.base + byteOffset)
    let size = storedType.byteCount
    let loadedSize = storedType.dtype.byteCount
    if isContiguous || shape.rank == 0 {
      convert(source, stride: 1, count: elementCount, to: out)
      return
    }
    let inner = shape.dimensions[shape.rank - 1]
    let innerStride = strides[shape.rank - 1]
    var index = [Int](repeating: 0, count: shape.rank - 1)
    var position = 0
    for row in 0..<(elementCount / inner) {
      convert(source + position * size, stride: innerStride, count: inner, to: out + row * inner * loadedSize)
      for axis in stride(from: shape.rank - 2, through: 0, by: -1) {
        index[axis] += 1
        position += strides[axis]
        if index[axis] < shape.dimensions[axis] { break }
        position -= index[axis] * strides[axis]
        index[axis] = 0
      }
    }
  }

  private func convert(_ source: UnsafeRawPointer, stride: Int, count: Int, to out: UnsafeMutableRawPointer) {
    switch storedType {
    case .float64: gather(source, stride, count, out, as: UInt64.self) { Float(Double(bitPattern: $0)) }
    case .int16: gather(source, stride, count, out, as: Int16.self) { Int32($0) }
    case .int8: gather(source, stride, count, out, as: Int8.self) { Int32($0) }
    case .bool: gather(source, stride, count, out, as: UInt8.self) { $0 == 0 ? UInt8(0) : 1 }
    default:
      guard stride != 1 else {
        out.copyMemory(from: source, byteCount: count * storedType.byteCount)
        return
      }
      switch storedType.byteCount {
      case 1: gather(source, stride, count, out, as: UInt8.self) { $0 }
      case 2: gather(source, stride, count, out, as: UInt16.self) { $0 }
      case 4: gather(source, stride, count, out, as: UInt32.self) { $0 }
      default: gather(source, stride, count, out, as: UInt64.self) { $0 }
      }
    }
  }

  @inline(__always)
  private func gather<In: FixedWidthInteger, Out>(
    _ source: UnsafeRawPointer, _ stride: Int, _ count: Int, _ out: UnsafeMutableRawPointer, as type: In.Type,
    _ body: (In) -> Out
  ) {
    let out = out.assumingMemoryBound(to: Out.self)
    for i in 0..<count {
      out[i] = body(
        In(
          littleEndian: source.loadUnaligned(fromByteOffset: i * stride * MemoryLayout<In>.size, as: In.self))
      )
    }
  }
}

/// The product, or nil where a factor is nil or it overflows.
func checkedProduct(_ a: Int?, _ b: Int) -> Int? {
  guard let a else { return nil }
  let (product, overflow) = a.multipliedReportingOverflow(by: b)
  return overflow ? nil : product
}
