import CBraidKernels

/// Which kernels the machine can run.
public enum Processor {
  /// The level in use: "base", "avx2" or "avx512".
  public static var level: String { name(braid_current_level()) }
  /// The highest level that the machine has.
  public static var machineLevel: String { name(braid_machine_level()) }

  private static func name(_ level: braid_level) -> String {
    switch level {
    case BRAID_LEVEL_AVX512: "avx512"
    case BRAID_LEVEL_AVX2: "avx2"
    default: "base"
    }
  }
}
