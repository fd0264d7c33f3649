import ArgumentParser
import Braid
import Foundation

/// braid doctor
struct DoctorCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor", abstract: "Show what Braid finds on this machine.")

  @OptionGroup var device: DeviceOptions
  @OptionGroup var report: ReportOptions

  mutating func run() async throws {
    let console = Console(report)
    try await reporting(console) {
      try device.applyProcessor()
      let store = ModelStore.standard
      let shipped = store.embedded.map(\.name)
      let libraries = ImageLibraries.versions
      let lines: [(String, String, JSONValue)] = [
        ("version", BraidVersion.text, .string(BraidVersion.text)),
        ("cpu", Self.cpu, .string(Self.cpu)),
        (
          "level", "\(Processor.level) (the machine has \(Processor.machineLevel); BRAID_CPU lowers it)",
          .string(Processor.level)
        ),
        ("threads", "\(ThreadPool.threads)", .integer(ThreadPool.threads)),
        (
          "memory",
          "\(Self.size(MemoryBudget.available)) free, \(Self.size(MemoryBudget.standard)) used by default (--memory)",
          .integer(MemoryBudget.available)
        ),
        (
          "libraries", libraries.map { "\($0.name) \($0.version)" }.joined(separator: ", "),
          .object(libraries.map { ($0.name, JSONValue.string($0.version)) })
        ),
        (
          "shipped", shipped.isEmpty ? "no models in this build" : shipped.joined(separator: ", "),
          .array(shipped.map { .string($0) })
        ),
        ("folders", store.folders.joined(separator: ", "), .array(store.folders.map { .string($0) })),
        (
          "cuda", CUDALibraries.tried.joined(separator: "; "), .array(CUDALibraries.tried.map { .string($0) })
        ),
      ]
      if console.isJSON { return console.event("result", [("machine", .object(lines.map { ($0.0, $0.2) }))]) }
      for (name, text, _) in lines {
        console.result(name + String(repeating: " ", count: 11 - name.count) + text.escapedForTerminal, [])
      }
      if try EnvironmentDefault.value(device.device, "BRAID_DEVICE").map({ $0 != .auto && $0 != .cpu })
        ?? false
      {
        throw DeviceError.unavailable(tried: CUDALibraries.tried)
      }
    }
  }

  /// The processor's name, as the system gives it.
  private static var cpu: String {
    let text = try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)
    let line = text?.split(separator: "\n").first { $0.hasPrefix("model name") }
    return line?.split(separator: ":", maxSplits: 1).last.map { $0.trimmingCharacters(in: .whitespaces) }
      ?? "unknown"
  }

  private static func size(_ bytes: Int) -> String { String(format: "%.1f GiB", Double(bytes) / 0x1p30) }
}
