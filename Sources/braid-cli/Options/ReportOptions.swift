import ArgumentParser

/// How a command tells what it does.
struct ReportOptions: ParsableArguments {
  @Flag(help: "Write newline-delimited JSON events to standard output.")
  var json = false

  @Flag(name: [.long, .customShort("q")], help: "Leave out progress and notes.")
  var quiet = false
}
