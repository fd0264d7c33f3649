import ArgumentParser
import Braid
import Foundation

extension BatchPlan {
  /// Goes through the jobs: notes and failures are told, the first of a single file ends the command, a batch goes on
  /// and ends with a summary.
  ///
  /// - Parameters:
  ///   - done: what happened to the files, as the summary has it: "restored".
  ///   - prepare: loads what the jobs need; called once, where there are any.
  ///   - work: does one job; `label` names it in the progress.
  func run<Tools>(
    _ console: Console, done: String, prepare: () throws -> Tools,
    work: (_ tools: Tools, _ job: Job, _ index: Int, _ label: String) async throws -> Void
  ) async throws {
    for (path, text) in notes { console.note(text, file: path) }
    var failed = failures.count
    for (input, failure) in failures {
      console.error(failure, file: input)
      if isSingle { throw ExitCode(failure.exitCode) }
    }
    if isSingle, let job = skipped.first { console.note("exists, kept: \(job.output)", file: job.input) }
    // A file that is not there, or a folder that is not: told before the model is loaded.
    if isSingle, let job = jobs.first {
      if job.input != "-", FileIdentity(job.input) == nil {
        _ = access(job.input, F_OK)
        throw errno == EACCES
          ? Failure(
            exitCode: Exit.noInput, code: "unreadable",
            message: "\(job.input): cannot be read: permission denied")
          : Failure(exitCode: Exit.noInput, code: "not_found", message: "\(job.input): no such file")
      }
      try makeFolder(for: job)
    }
    if !jobs.isEmpty {
      let tools = try prepare()
      for (index, job) in jobs.enumerated() {
        do {
          try makeFolder(for: job)
          let label = jobs.count > 1 ? "\(index + 1)/\(jobs.count) \(job.input)" : job.input
          try await work(tools, job, index, label)
        } catch {
          let failure = Failure(error)
          console.error(failure, file: job.input)
          if isSingle || error is CancellationError { throw ExitCode(failure.exitCode) }
          failed += 1
        }
      }
    }
    if !isSingle {
      let finished = jobs.count + failures.count - failed
      if console.isJSON {
        console.event(
          "summary",
          [
            (done, .integer(finished)), ("skipped", .integer(skipped.count)), ("failed", .integer(failed)),
          ])
      } else if failed > 0 || !console.isQuiet {
        console.summary("\(finished) \(done), \(skipped.count) kept, \(failed) failed")
      }
    }
    if failed > 0 { throw ExitCode(Exit.someFailed) }
  }
}
