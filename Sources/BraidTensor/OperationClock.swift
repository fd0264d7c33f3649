import Foundation
import Synchronization

/// The time that each operation takes, for benchmarks: off unless started.
///
/// Operations run one after the other, so the time since the last one ended is the next one's.
public enum OperationClock {
  /// Seconds and calls of one operation.
  public struct Entry: Sendable {
    public var name: String
    public var seconds: Double
    public var calls: Int
  }

  private struct State {
    var last = 0.0
    var entries: [String: Entry] = [:]
  }
  private static let isRunning = Atomic<Bool>(false)
  private static let state = Mutex(State())

  /// Forgets what was measured and begins anew.
  public static func start() {
    state.withLock { $0 = State(last: now) }
    isRunning.store(true, ordering: .relaxed)
  }

  /// Leaves out the time since the last operation, in which none ran.
  public static func skip() { state.withLock { $0.last = now } }

  /// Ends the measurement; the operations by falling time.
  public static func stop() -> [Entry] {
    isRunning.store(false, ordering: .relaxed)
    return state.withLock { $0.entries.values.sorted { $0.seconds > $1.seconds } }
  }

  /// An operation has ended.
  @inline(__always)
  static func tick(_ name: StaticString) {
    if isRunning.load(ordering: .relaxed) { count(name) }
  }

  /// The gradient of an operation has been computed, apart from the operations inside it that are counted.
  @inline(__always)
  static func tickGradient(_ name: StaticString) {
    if isRunning.load(ordering: .relaxed) { count(name, suffix: ", gradient") }
  }

  private static func count(_ name: StaticString, suffix: String = "") {
    let time = now
    state.withLock { state in
      let key = "\(name)" + suffix
      state.entries[key, default: Entry(name: key, seconds: 0, calls: 0)].seconds += time - state.last
      state.entries[key]!.calls += 1
      state.last = time
    }
  }

  private static var now: Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }
}
