import CBraidKernels

/// Which kernels the machine can run.
public enum Processor {
  /// The level in use: "base", "avx2" or "avx512".
  public static var level: String { name(braid_current_level()) }
  /// The highest level that the machine has.
  public static var machineLevel: String { name(braid_machine_level()) }

  /// Seconds of one exponential of the kernels, on one thread and in the first-level cache: the best of many runs.
  ///
  /// What bounds operations such as the selective scan; benchmarks print it beside them.
  public static func exponentialSeconds() -> Double {
    let count = 1024
    let kernels = CPU.kernels.pointee.math
    return withUnsafeTemporaryAllocation(of: Float.self, capacity: 2 * count) { memory in
      for i in 0..<count { memory[i] = Float(i % 64) * -0.25 }
      let (x, y) = (memory.baseAddress!, memory.baseAddress! + count)
      return (0..<200).map { _ in
        let start = ContinuousClock.now
        for _ in 0..<50 { kernels.unary(BRAID_UNARY_EXP, x, y, count, 0, 0) }
        return start.duration(to: .now) / .seconds(1) / Double(50 * count)
      }.min()!
    }
  }

  private static func name(_ level: braid_level) -> String {
    switch level {
    case BRAID_LEVEL_AVX512: "avx512"
    case BRAID_LEVEL_AVX2: "avx2"
    default: "base"
    }
  }
}
