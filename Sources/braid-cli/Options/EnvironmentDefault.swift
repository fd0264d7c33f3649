import ArgumentParser
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
}
