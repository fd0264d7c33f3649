import CBraidKernels

/// A constant weight matrix [rows, columns] in the format in which products stream it: f32, bf16, int8 or Q4_0.
///
/// Nothing else is kept beside it: products of a few rows read it once as it lies, longer ones unpack a few rows at a
/// time. Contracts with x over the columns, as `linear` does: rows are a layer's outputs. A stack of experts
/// [E, N, K] is a matrix of E N rows, of which `rows(_:)` gives one expert's.
public struct QuantizedMatrix: Sendable {
  public let format: WeightFormat
  public let rows: Int
  public let columns: Int
  private let numbers: Storage
  private let scales: Storage?
  /// The first row's place, in rows and in bytes of `numbers`.
  private let firstRow: Int
  private let offset: Int

  private init(
    format: WeightFormat, rows: Int, columns: Int, numbers: Storage, scales: Storage?, firstRow: Int,
    offset: Int
  ) {
    self.format = format
    self.rows = rows
    self.columns = columns
    self.numbers = numbers
    self.scales = scales
    self.firstRow = firstRow
    self.offset = offset
  }

  /// A tensor of at least two axes, its last one as columns, the others as rows.
  ///
  /// Contiguous float32 as f32 and bfloat16 as bf16 are used in place and must not change afterwards; everything else
  /// is converted, rounded to nearest, a few rows at a time.
  public init(_ tensor: Tensor, as format: WeightFormat) {
    precondition(
      tensor.rank >= 2 && tensor.dtype.isFloatingPoint,
      "QuantizedMatrix: \(tensor.dtype.rawValue)\(tensor.shape) is not a matrix of numbers")
    let columns = tensor.shape[-1]
    let rows = columns == 0 ? 0 : tensor.elementCount / columns
    let source = tensor.detached.contiguous()
    if WeightFormat(source.dtype) == format {
      self.init(
        format: format, rows: rows, columns: columns, numbers: source.storage, scales: nil, firstRow: 0,
        offset: source.offset * source.dtype.byteCount)
      return
    }
    let kernel = format.kernel
    let (rowBytes, scaleBytes) = (
      Int(braid_gemv_row_bytes(kernel, columns)), Int(braid_gemv_scale_bytes(kernel, columns))
    )
    let numbers = Storage(byteCount: rows * rowBytes)
    let scales = scaleBytes > 0 ? Storage(byteCount: rows * scaleBytes) : nil
    let size = source.dtype.byteCount
    withExtendedLifetime((source.storage, numbers, scales)) {
      parallelRanges(rows, minimum: max(1, 16384 / max(1, columns))) { range in
        // A few rows are converted at a time, so that no second copy of the matrix arises.
        let step = max(1, 65536 / max(1, columns))
        let buffer = Workspace(floats: source.dtype == .float32 ? 0 : min(step, range.count) * columns)
        defer { buffer.release() }
        for first in stride(from: range.lowerBound, to: range.upperBound, by: step) {
          let count = min(step, range.upperBound - first)
          let from = source.storage.pointer + (source.offset + first * columns) * size
          var floats = UnsafePointer(from.assumingMemoryBound(to: Float.self))
          if source.dtype != .float32 {
            CPU.convert(
              from, source.dtype, UnsafeMutableRawPointer(buffer.pointer), .float32, count * columns)
            floats = UnsafePointer(buffer.pointer)
          }
          CPU.kernels.pointee.gemv.quantize(
            kernel, count, columns, floats, numbers.pointer + first * rowBytes,
            scales.map { $0.pointer + first * scaleBytes })
        }
      }
    }
    self.init(
      format: format, rows: rows, columns: columns, numbers: numbers, scales: scales, firstRow: 0, offset: 0)
  }

  /// Bytes that the numbers and their scales take.
  public var byteCount: Int { rows * (rowBytes + scaleBytes) }

  /// Some of the rows, over the same memory.
  public func rows(_ range: Range<Int>) -> QuantizedMatrix {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= rows,
      "QuantizedMatrix: rows \(range) of [\(rows), \(columns)]")
    return QuantizedMatrix(
      format: format, rows: range.count, columns: columns, numbers: numbers, scales: scales,
      firstRow: firstRow + range.lowerBound, offset: offset + range.lowerBound * rowBytes)
  }

  /// The rows that `ids` names, as float32: [ids..., columns] (a lookup of embeddings).
  public func rows(_ ids: Tensor) -> Tensor {
    precondition(!ids.dtype.isFloatingPoint, "QuantizedMatrix: ids of \(ids.dtype.rawValue)")
    let count = ids.elementCount
    let output = Tensor.build(Shape(ids.shape.dimensions + [columns])) { out in
      ids.read(as: Int64.self) { id in
        for i in 0..<count {
          precondition(
            id[i] >= 0 && id[i] < rows, "QuantizedMatrix: row \(id[i]) of [\(rows), \(columns)]")
        }
        let id = UnsafeBufferPointer(start: id, count: count)
        parallelRanges(count, minimum: max(1, 16384 / max(1, columns))) { range in
          for i in range { copyRows(Int(id[i])..<Int(id[i]) + 1, to: out + i * columns) }
        }
      }
    }
    OperationClock.tick("embedding")
    return output
  }

  /// The exact values of all rows, as float32 [rows, columns]; over the same memory where the format is f32.
  public func dequantised() -> Tensor {
    if format == .f32, offset % 4 == 0 {
      return Tensor(storage: numbers, shape: [rows, columns], offset: offset / 4, dtype: .float32)
    }
    return Tensor.build([rows, columns]) { out in
      parallelRanges(rows, minimum: max(1, 16384 / max(1, columns))) {
        copyRows($0, to: out + $0.lowerBound * columns)
      }
    }
  }

  // MARK: For kernels

  var rowBytes: Int { Int(braid_gemv_row_bytes(format.kernel, columns)) }
  var scaleBytes: Int { Int(braid_gemv_scale_bytes(format.kernel, columns)) }

  /// Calls `body` with the places of the first row and of its scales.
  func withMemory<Result>(_ body: (UnsafeRawPointer, UnsafeRawPointer?) -> Result) -> Result {
    withExtendedLifetime((numbers, scales)) {
      body(
        UnsafeRawPointer(numbers.pointer + offset),
        scales.map { UnsafeRawPointer($0.pointer + firstRow * scaleBytes) })
    }
  }

  /// Writes the float32 values of some rows, one after the other.
  func copyRows(
    _ range: Range<Int>, to out: UnsafeMutablePointer<Float>,
    kernels: UnsafePointer<braid_kernels> = CPU.kernels
  ) {
    withMemory { numbers, scales in
      kernels.pointee.gemv.dequantize(
        format.kernel, range.count, columns, numbers + range.lowerBound * rowBytes,
        scales.map { $0 + range.lowerBound * scaleBytes }, out, columns)
    }
  }
}
