/// An n-dimensional array: a view (shape, strides, offset) over a reference-counted storage.
///
/// Operations return new tensors; `reshape`, `transposed`, slices and broadcasts return views. Row-major. A
/// shape mistake is a programmer error and stops with a message that names the operation and the shapes.
public struct Tensor: @unchecked Sendable {
  public private(set) var storage: Storage
  public let shape: Shape
  /// Distance between neighbours along each axis, in elements.
  public let strides: [Int]
  /// The first element's index in the storage, in elements.
  public let offset: Int
  public let dtype: DType
  /// Where the tensor stands in the graph of recorded operations; nil where no gradient is wanted.
  var gradientSource: GradientSource?

  /// A view over a storage; the caller answers for the bounds.
  public init(storage: Storage, shape: Shape, strides: [Int]? = nil, offset: Int = 0, dtype: DType) {
    self.storage = storage
    self.shape = shape
    self.strides = strides ?? shape.contiguousStrides
    self.offset = offset
    self.dtype = dtype
  }

  /// Whether no other tensor holds the storage, so that it may be written in place.
  mutating func isSoleOwner() -> Bool {
    gradientSource == nil && storage.isWritable && isKnownUniquelyReferenced(&storage)
  }

  public var device: Device { storage.device }
  public var rank: Int { shape.rank }
  public var elementCount: Int { shape.elementCount }

  /// Whether the elements lie one after the other in row-major order.
  public var isContiguous: Bool {
    var expected = 1
    for axis in stride(from: rank - 1, through: 0, by: -1) where shape.dimensions[axis] != 1 {
      if strides[axis] != expected { return false }
      expected *= shape.dimensions[axis]
    }
    return true
  }
}

/// A Swift type that a tensor can hold.
public protocol TensorElement: Sendable {
  static var dtype: DType { get }
}
extension Float: TensorElement { public static var dtype: DType { .float32 } }
extension Int32: TensorElement { public static var dtype: DType { .int32 } }
extension Int64: TensorElement { public static var dtype: DType { .int64 } }
extension UInt8: TensorElement { public static var dtype: DType { .uint8 } }

// MARK: - Making tensors

extension Tensor {
  /// A tensor with undefined content.
  public static func uninitialized(_ shape: Shape, dtype: DType = .float32) -> Tensor {
    Tensor(storage: Storage(byteCount: shape.elementCount * dtype.byteCount), shape: shape, dtype: dtype)
  }

  /// A float32 tensor whose elements `body` writes, all of them.
  public static func build(_ shape: Shape, _ body: (UnsafeMutablePointer<Float>) -> Void) -> Tensor {
    build(shape, as: Float.self, body)
  }

  /// A tensor whose elements `body` writes, all of them.
  public static func build<T: TensorElement>(
    _ shape: Shape, as type: T.Type, _ body: (UnsafeMutablePointer<T>) -> Void
  ) -> Tensor {
    let tensor = uninitialized(shape, dtype: T.dtype)
    withExtendedLifetime(tensor.storage) { body(tensor.storage.pointer.assumingMemoryBound(to: T.self)) }
    return tensor
  }

  /// A tensor of the given elements in row-major order.
  public init<T: TensorElement>(_ elements: [T], shape: Shape) {
    precondition(
      elements.count == shape.elementCount, "Tensor: \(elements.count) elements do not fill \(shape)")
    self = Tensor.build(shape, as: T.self) { out in
      elements.withUnsafeBufferPointer {
        if let base = $0.baseAddress { out.update(from: base, count: $0.count) }
      }
    }
  }

  /// A one-dimensional tensor of the given elements.
  public init<T: TensorElement>(_ elements: [T]) { self.init(elements, shape: [elements.count]) }

  /// A tensor without axes that holds one number.
  public init(_ value: Float) { self.init([value], shape: []) }

  /// A tensor of one repeated number.
  public static func full(_ shape: Shape, _ value: Float) -> Tensor {
    build(shape) { $0.update(repeating: value, count: shape.elementCount) }
  }

  public static func zeros(_ shape: Shape, dtype: DType = .float32) -> Tensor {
    let tensor = uninitialized(shape, dtype: dtype)
    withExtendedLifetime(tensor.storage) {
      _ = tensor.storage.pointer.initializeMemory(
        as: UInt8.self, repeating: 0, count: shape.elementCount * dtype.byteCount)
    }
    return tensor
  }

  public static func ones(_ shape: Shape) -> Tensor { full(shape, 1) }

  /// The numbers 0, 1, ... count - 1.
  public static func range(_ count: Int) -> Tensor {
    build([count]) { out in for i in 0..<count { out[i] = Float(i) } }
  }
}

// MARK: - Reading and writing elements

extension Tensor {
  /// Calls `body` with the float32 elements in row-major order (a copy is made of a strided view or another type).
  @inline(__always)
  public func read<Result>(_ body: (UnsafePointer<Float>) throws -> Result) rethrows -> Result {
    try read(as: Float.self, body)
  }

  /// Calls `body` with the elements in row-major order, converted to `T` where they are of another type.
  public func read<T: TensorElement, Result>(
    as type: T.Type, _ body: (UnsafePointer<T>) throws -> Result
  ) rethrows -> Result {
    let source = (dtype == T.dtype ? detached : detached.cast(to: T.dtype)).contiguous()
    return try withExtendedLifetime(source.storage) {
      try body(UnsafePointer(source.storage.pointer.assumingMemoryBound(to: T.self) + source.offset))
    }
  }

  /// Calls `body` with the raw bytes of the elements in row-major order.
  public func withBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
    let source = detached.contiguous()
    return try withExtendedLifetime(source.storage) {
      try body(
        UnsafeRawBufferPointer(
          start: source.storage.pointer + source.offset * dtype.byteCount,
          count: elementCount * dtype.byteCount))
    }
  }

  /// Overwrites the elements in place, in every view of the storage. For optimisers and for filling a tensor that
  /// nobody else holds; the tensor is contiguous and of type `T`.
  public func overwrite<T: TensorElement>(as type: T.Type, _ body: (UnsafeMutablePointer<T>) -> Void) {
    precondition(
      isContiguous && dtype == T.dtype, "overwrite: \(shape) is not a contiguous tensor of \(T.dtype)")
    withExtendedLifetime(storage) {
      body(storage.pointer.assumingMemoryBound(to: T.self) + offset)
    }
  }

  /// The elements in row-major order.
  public func elements<T: TensorElement>(as type: T.Type) -> [T] {
    read(as: T.self) { Array(UnsafeBufferPointer(start: $0, count: elementCount)) }
  }

  /// The elements in row-major order as 32-bit floats.
  public var floats: [Float] { elements(as: Float.self) }

  /// The one element of a tensor of one element.
  public var item: Float {
    precondition(elementCount == 1, "item: \(shape) does not hold exactly one element")
    return read { $0[0] }
  }

  /// The same elements outside the graph of recorded operations.
  public var detached: Tensor {
    if gradientSource == nil { return self }
    var copy = self
    copy.gradientSource = nil
    return copy
  }
}

extension Tensor: CustomStringConvertible {
  public var description: String {
    let shown = elementCount <= 16 ? " \(floats)" : ""
    return "Tensor\(shape) \(dtype.rawValue) \(device)\(shown)"
  }
}
