/// The sizes of a tensor's axes, outermost first.
public struct Shape: Hashable, Sendable, ExpressibleByArrayLiteral, RandomAccessCollection,
  CustomStringConvertible
{
  public var dimensions: [Int]

  public init(_ dimensions: [Int]) { self.dimensions = dimensions }
  public init(arrayLiteral elements: Int...) { dimensions = elements }

  public var startIndex: Int { 0 }
  public var endIndex: Int { dimensions.count }
  public subscript(index: Int) -> Int { dimensions[index < 0 ? index + dimensions.count : index] }

  /// The number of axes.
  public var rank: Int { dimensions.count }
  /// The number of elements.
  public var elementCount: Int { dimensions.reduce(1, *) }
  /// The strides, in elements, of a contiguous row-major layout.
  public var contiguousStrides: [Int] {
    var strides = [Int](repeating: 1, count: rank)
    for axis in stride(from: rank - 2, through: 0, by: -1) {
      strides[axis] = strides[axis + 1] * dimensions[axis + 1]
    }
    return strides
  }
  public var description: String { "[" + dimensions.map(String.init).joined(separator: ", ") + "]" }

  /// The non-negative axis that `axis` names (negative counts from the end); stops on one out of range.
  public func axis(_ axis: Int, _ operation: StaticString) -> Int {
    let resolved = axis < 0 ? axis + rank : axis
    precondition(
      resolved >= 0 && resolved < rank, "\(operation): axis \(axis) is outside the shape \(self)")
    return resolved
  }

  /// The shape that two shapes broadcast to, or nil where they do not agree.
  public static func broadcast(_ a: Shape, _ b: Shape) -> Shape? {
    let rank = Swift.max(a.rank, b.rank)
    var result = [Int](repeating: 1, count: rank)
    for i in 0..<rank {
      let x = i < a.rank ? a.dimensions[a.rank - 1 - i] : 1
      let y = i < b.rank ? b.dimensions[b.rank - 1 - i] : 1
      guard x == y || x == 1 || y == 1 else { return nil }
      result[rank - 1 - i] = x == 1 ? y : x
    }
    return Shape(result)
  }
}
