import ArgumentParser

/// What happens to an output that exists.
enum ExistingOutput {
  case refuse
  case skip
  case overwrite
}

/// Which files of folders are taken, and what happens to outputs that exist.
struct BatchOptions: ParsableArguments {
  @Flag(help: "Take in folders below the given ones; their structure is kept.")
  var recursive = false

  @Flag(help: "Leave outputs that exist as they are: goes on after an interruption.")
  var skipExisting = false

  @Flag(help: "Replace outputs that exist.")
  var overwrite = false

  func validate() throws {
    if skipExisting && overwrite {
      throw ValidationError("--skip-existing and --overwrite exclude each other.")
    }
  }

  var existing: ExistingOutput { overwrite ? .overwrite : skipExisting ? .skip : .refuse }
}
