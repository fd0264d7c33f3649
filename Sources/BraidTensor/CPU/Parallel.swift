import CBraidKernels

/// Runs `body(i)` for every i in 0..<count on the shared thread pool; returns when all are done.
///
/// A call from inside a parallel body runs serially. Bodies must not throw and write to disjoint memory.
@inline(__always)
public func parallelFor(_ count: Int, _ body: (Int) -> Void) {
  if count <= 1 {
    if count == 1 { body(0) }
    return
  }
  withoutActuallyEscaping(body) { escapable in
    var box = escapable
    withUnsafeMutablePointer(to: &box) { pointer in
      braid_parallel_for(
        count,
        { context, index in
          context!.assumingMemoryBound(to: ((Int) -> Void).self).pointee(Int(index))
        }, UnsafeMutableRawPointer(pointer))
    }
  }
}

/// Splits 0..<count into at most a few ranges per thread, each at least `minimum` long, and runs `body` on each.
@inline(__always)
public func parallelRanges(_ count: Int, minimum: Int, _ body: (Range<Int>) -> Void) {
  guard count > 0 else { return }
  let tasks = Swift.max(1, Swift.min(count / Swift.max(1, minimum), 4 * ThreadPool.threads))
  if tasks == 1 { return body(0..<count) }
  parallelFor(tasks) { task in
    body(count * task / tasks..<count * (task + 1) / tasks)
  }
}

/// The process's one thread pool.
public enum ThreadPool {
  /// Threads that a parallel loop uses, the caller included.
  ///
  /// Default: the CPUs that the process may use, or the environment's BRAID_THREADS.
  public static var threads: Int {
    get { Int(braid_threads()) }
    set { braid_set_threads(newValue < 1 ? 1 : newValue) }
  }
}
