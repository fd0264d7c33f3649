import Braid
import Foundation

/// Runs that `braid bench` times, with a line for each.
enum TimedRuns {
  /// Seconds that each run of `work` took: `count` of them or, `interactive`, one for each line of standard input.
  static func seconds(count: Int, interactive: Bool, _ work: () -> Void) -> [Double] {
    var times: [Double] = []
    func once() {
      times.append(seconds(of: work))
      say("run \(times.last!)")
    }
    if interactive {
      say("ready")
      while readLine() != nil { once() }
    } else {
      for _ in 0..<count { once() }
    }
    return times
  }

  /// Seconds of one run.
  static func seconds(of work: () -> Void) -> Double {
    OperationClock.skip()
    let start = ContinuousClock.now
    work()
    return start.duration(to: .now) / .seconds(1)
  }

  /// A line for each operation: its mean time and calls in one of several runs.
  static func lines(_ entries: [OperationClock.Entry], runs: Int) -> [String] {
    entries.map {
      "operation \($0.name) \($0.seconds / Double(runs)) seconds \($0.calls / runs) calls"
    }
  }

  /// A line that another program sees at once.
  static func say(_ text: String) {
    print(text)
    fflush(nil)
  }
}
