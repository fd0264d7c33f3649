import ArgumentParser
import Braid
import Foundation

/// Defaults from BRAID_* variables: a flag wins over the variable, the variable over the built-in default.
enum EnvironmentDefault {
  /// The flag's value, or what the variable says, or nil; throws a usage failure where the variable makes no sense.
  static func value<Value: ExpressibleByArgument>(_ flag: Value?, _ variable: String) throws -> Value? {
    if let flag { return flag }
    guard let text = ProcessInfo.processInfo.environment[variable], !text.isEmpty else { return nil }
    guard let value = Value(argument: text) else {
      throw Failure.usage("the environment's \(variable) is \"\(text)\", which is not a value it can have")
    }
    return value
  }

  /// The same where not every value of the type makes sense; `range` holds for the variable too.
  static func value(_ flag: Int?, _ variable: String, in range: ClosedRange<Int>) throws -> Int? {
    guard let value = try value(flag, variable) else { return nil }
    guard flag != nil || range.contains(value) else {
      throw Failure.usage(
        "the environment's \(variable) is \(value), but must be "
          + (range.upperBound == .max
            ? "\(range.lowerBound) or more" : "\(range.lowerBound) to \(range.upperBound)"))
    }
    return value
  }

  /// Throws where BRAID_MODELS cannot be a folder of models.
  static func checkModelsFolder() throws {
    guard let path = ProcessInfo.processInfo.environment["BRAID_MODELS"], !path.isEmpty,
      let kind = FileIdentity(path)?.kind, kind != .folder
    else { return }
    throw Failure.usage("the environment's BRAID_MODELS is \"\(path)\", which is not a folder")
  }

  /// Throws where BRAID_CPU is no level, or one that the processor does not have.
  static func checkProcessorLevel() throws {
    let levels = ["base", "avx2", "avx512"]
    guard let text = ProcessInfo.processInfo.environment["BRAID_CPU"], !text.isEmpty else { return }
    guard levels.contains(text) else {
      throw Failure.usage(
        "the environment's BRAID_CPU is \"\(text)\", which is not one of \(levels.joined(separator: ", "))")
    }
    if text != Processor.level {
      throw Failure(
        exitCode: Exit.unavailable, code: "device_unavailable",
        message:
          "the environment's BRAID_CPU asks for \(text), but this processor has \(Processor.machineLevel)")
    }
  }
}
