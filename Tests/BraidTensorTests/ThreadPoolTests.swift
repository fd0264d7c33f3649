import CBraidKernels
import Foundation
import Synchronization
import Testing

@testable import BraidTensor

@Suite struct ThreadPoolTests {
  @Test func everyIndexRunsOnce() {
    for count in [0, 1, 2, 3, 17, 1000] {
      let runs = (0..<count).map { _ in Counter() }
      parallelFor(count) { runs[$0].value.add(1, ordering: .relaxed) }
      #expect(runs.allSatisfy { $0.value.load(ordering: .relaxed) == 1 })
    }
  }

  @Test func nestedLoopsAndQueriesRunInside() {
    let total = Counter()
    parallelFor(20) { _ in
      #expect(ThreadPool.threads >= 1)
      parallelFor(10) { _ in total.value.add(1, ordering: .relaxed) }
    }
    #expect(total.value.load(ordering: .relaxed) == 200)
  }

  /// Several threads submit short loops at once, more than there are cores, while the pool's size changes.
  @Test func contendingCallersAllFinish() {
    let before = ThreadPool.threads
    defer { ThreadPool.threads = before }
    let total = Counter()
    let threads = (0..<6).map { index in
      let thread = Thread {
        for round in 0..<500 {
          if index == 0 { ThreadPool.threads = 1 + round % 9 }
          parallelFor(1 + round % 7) { _ in total.value.add(1, ordering: .relaxed) }
        }
        total.finished.add(1, ordering: .releasing)
      }
      thread.start()
      return thread
    }
    while total.finished.load(ordering: .acquiring) < threads.count { usleep(500) }
    let perThread = (0..<500).reduce(0) { $0 + 1 + $1 % 7 }
    #expect(total.value.load(ordering: .relaxed) == 6 * perThread)
  }

  private final class Counter: Sendable {
    let value = Atomic<Int>(0)
    let finished = Atomic<Int>(0)
  }
}
