import CBraidKernels

extension Tensor {
  /// The elements as another type: rounded to nearest (ties to even) where the target holds fewer digits, toward zero
  /// and saturating from floating point to an integer.
  public func cast(to target: DType) -> Tensor {
    if dtype == target { return self }
    let source = detached.contiguous()
    let output = Tensor.uninitialized(shape, dtype: target)
    withExtendedLifetime((source.storage, output.storage)) {
      CPU.convert(
        source.storage.pointer + source.offset * dtype.byteCount, dtype, output.storage.pointer, target,
        elementCount)
    }
    let original = dtype
    guard target.isFloatingPoint && original.isFloatingPoint else { return output }
    // Gradients are float32 whatever the type of the tensor is.
    return Tensor.record("cast", output, inputs: [self]) { gradient, _ in [gradient] }
  }
}

extension CPU {
  static func convert(
    _ source: UnsafeMutableRawPointer, _ from: DType, _ target: UnsafeMutableRawPointer, _ to: DType,
    _ count: Int
  ) {
    let math = kernels.pointee.math
    func float(_ body: @escaping (UnsafePointer<Float>) -> Void) {
      if from == .float32 { return body(UnsafePointer(source.assumingMemoryBound(to: Float.self))) }
      withUnsafeTemporaryAllocation(of: Float.self, capacity: count) { buffer in
        convert(source, from, UnsafeMutableRawPointer(buffer.baseAddress!), .float32, count)
        body(UnsafePointer(buffer.baseAddress!))
      }
    }
    func half(_ pointer: UnsafeMutableRawPointer) -> UnsafeMutablePointer<UInt16> {
      pointer.assumingMemoryBound(to: UInt16.self)
    }
    func chunks(_ body: (Range<Int>) -> Void) { parallelRanges(count, minimum: 65_536, body) }
    guard count > 0 else { return }
    switch (from, to) {
    case (.bfloat16, .float32):
      let out = target.assumingMemoryBound(to: Float.self)
      chunks { math.bf16_to_f32(half(source) + $0.lowerBound, out + $0.lowerBound, $0.count) }
    case (.float16, .float32):
      let out = target.assumingMemoryBound(to: Float.self)
      chunks { math.f16_to_f32(half(source) + $0.lowerBound, out + $0.lowerBound, $0.count) }
    case (.float32, .bfloat16):
      let x = UnsafePointer(source.assumingMemoryBound(to: Float.self))
      chunks { math.f32_to_bf16(x + $0.lowerBound, half(target) + $0.lowerBound, $0.count) }
    case (.float32, .float16):
      let x = UnsafePointer(source.assumingMemoryBound(to: Float.self))
      chunks { math.f32_to_f16(x + $0.lowerBound, half(target) + $0.lowerBound, $0.count) }
    case (.bfloat16, _), (.float16, _):
      float { convert(UnsafeMutableRawPointer(mutating: $0), .float32, target, to, count) }
    case (_, .bfloat16), (_, .float16):
      withUnsafeTemporaryAllocation(of: Float.self, capacity: count) { buffer in
        let middle = UnsafeMutableRawPointer(buffer.baseAddress!)
        convert(source, from, middle, .float32, count)
        convert(middle, .float32, target, to, count)
      }
    case (.float32, .int32):
      math.f32_to_i32(
        source.assumingMemoryBound(to: Float.self), target.assumingMemoryBound(to: Int32.self), count)
    case (.float32, .int64):
      math.f32_to_i64(
        source.assumingMemoryBound(to: Float.self), target.assumingMemoryBound(to: Int64.self), count)
    case (.float32, .uint8):
      let x = source.assumingMemoryBound(to: Float.self)
      let y = target.assumingMemoryBound(to: UInt8.self)
      for i in 0..<count { y[i] = UInt8(Swift.max(0, Swift.min(255, x[i]))) }
    case (.int32, .float32):
      math.i32_to_f32(
        source.assumingMemoryBound(to: Int32.self), target.assumingMemoryBound(to: Float.self), count)
    case (.int64, .float32):
      math.i64_to_f32(
        source.assumingMemoryBound(to: Int64.self), target.assumingMemoryBound(to: Float.self), count)
    case (.uint8, .float32):
      math.u8_to_f32(
        source.assumingMemoryBound(to: UInt8.self), 1, target.assumingMemoryBound(to: Float.self), count)
    case (.int32, .int64): integers(source, Int32.self, target, Int64.self, count)
    case (.int32, .uint8): integers(source, Int32.self, target, UInt8.self, count)
    case (.int64, .int32): integers(source, Int64.self, target, Int32.self, count)
    case (.int64, .uint8): integers(source, Int64.self, target, UInt8.self, count)
    case (.uint8, .int32): integers(source, UInt8.self, target, Int32.self, count)
    case (.uint8, .int64): integers(source, UInt8.self, target, Int64.self, count)
    case (.float32, .float32), (.int32, .int32), (.int64, .int64), (.uint8, .uint8):
      target.copyMemory(from: source, byteCount: count * to.byteCount)
    }
  }

  private static func integers<T: FixedWidthInteger, U: FixedWidthInteger>(
    _ source: UnsafeMutableRawPointer, _: T.Type, _ target: UnsafeMutableRawPointer, _: U.Type, _ count: Int
  ) {
    let x = source.assumingMemoryBound(to: T.self)
    let y = target.assumingMemoryBound(to: U.self)
    for i in 0..<count { y[i] = U(clamping: x[i]) }
  }
}
