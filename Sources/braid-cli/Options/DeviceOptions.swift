import ArgumentParser
import Braid
import Foundation

/// Where and how wide to compute.
struct DeviceOptions: ParsableArguments {
  @Option(help: ArgumentHelp("auto, cpu, or cuda[:N] (BRAID_DEVICE; default: auto).", valueName: "DEVICE"))
  var device: DeviceChoice?

  @Option(
    help: ArgumentHelp("Threads (BRAID_THREADS; default: the CPUs that the process may use).", valueName: "N")
  )
  var threads: Int?

  func validate() throws {
    if let threads, threads < 1 || threads > 4096 { throw ValidationError("--threads must be 1 to 4096.") }
  }

  /// Sets the threads; throws where the environment asks for what cannot be.
  func applyProcessor() throws {
    try EnvironmentDefault.checkProcessorLevel()
    if let threads = try EnvironmentDefault.value(threads, "BRAID_THREADS", in: 1...4096) {
      ThreadPool.threads = threads
    }
  }

  /// Sets the threads and gives the device.
  func apply() throws -> Device {
    try applyProcessor()
    switch try EnvironmentDefault.value(device, "BRAID_DEVICE") ?? .auto {
    case .auto, .cpu: return .cpu
    case .cuda: throw DeviceError.unavailable(tried: CUDALibraries.tried)
    }
  }
}

/// What `--device` takes.
enum DeviceChoice: ExpressibleByArgument, Equatable {
  case auto
  case cpu
  case cuda(Int)

  init?(argument: String) {
    switch argument {
    case "auto": self = .auto
    case "cpu": self = .cpu
    case "cuda": self = .cuda(0)
    default:
      guard argument.hasPrefix("cuda:"), let index = Int(argument.dropFirst(5)), index >= 0 else {
        return nil
      }
      self = .cuda(index)
    }
  }

  static var allValueStrings: [String] { ["auto", "cpu", "cuda", "cuda:0"] }
}

/// What an NVIDIA GPU would need here.
enum CUDALibraries {
  /// What was looked for, and what came of it.
  static var tried: [String] {
    let driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL)
    defer { if let driver { dlclose(driver) } }
    return [
      "a CUDA backend: not in this build",
      "libcuda.so.1: " + (driver == nil ? "not found" : "found, but this build has nothing to run on it"),
    ]
  }
}
