import CBraidKernels
import Foundation
import Synchronization

/// A prepared transform of many signals at once, one in each vector lane (`braid_fourier.h`): for lengths whose prime
/// factors are 2, 3 and 5.
final class FourierLanes: @unchecked Sendable {
  private let length: Int
  private let plan: UnsafeMutablePointer<braid_fourier_plan>
  private let twiddles: UnsafeMutablePointer<Float>
  private let halfTurns: UnsafeMutablePointer<Float>

  private init?(_ length: Int) {
    var radices: [Int] = []
    var rest = length
    for radix in [4, 2, 3, 5] {
      while rest % radix == 0 {
        radices.append(radix)
        rest /= radix
      }
    }
    if rest != 1 { return nil }
    self.length = length
    plan = .allocate(capacity: 1)
    plan.initialize(to: braid_fourier_plan())
    var turns: [Float] = []
    var left = length
    func append(_ index: Int, of count: Int) {
      let angle = -2 * Double.pi * Double(index % count) / Double(count)
      turns += [Float(scalarCos(angle)), Float(scalarSin(angle))]
    }
    for radix in radices {
      for p in 0..<left / radix { for k in 1..<radix { append(p * k, of: left) } }
      left /= radix
    }
    let count = turns.count
    for k in 0...length { append(k, of: 2 * length) }
    twiddles = .allocate(capacity: Swift.max(1, count))
    halfTurns = .allocate(capacity: turns.count - count)
    twiddles.initialize(from: turns, count: count)
    turns[count...].withUnsafeBufferPointer { halfTurns.initialize(from: $0.baseAddress!, count: $0.count) }
    plan.pointee.length = length
    plan.pointee.stages = radices.count
    plan.pointee.twiddles = UnsafePointer(twiddles)
    plan.pointee.half_turns = UnsafePointer(halfTurns)
    withUnsafeMutableBytes(of: &plan.pointee.radices) { bytes in
      for (stage, radix) in radices.enumerated() { bytes[stage] = UInt8(radix) }
    }
  }

  deinit {
    plan.deallocate()
    twiddles.deallocate()
    halfTurns.deallocate()
  }

  private static let plans = Mutex<[Int: FourierLanes]>([:])
  private static let keptLengths = 64

  /// The plan for complex signals of `length` (real ones of twice that); nil where it has another prime factor.
  static func of(_ length: Int) -> FourierLanes? {
    if let plan = plans.withLock({ $0[length] }) { return plan }
    guard let plan = FourierLanes(length) else { return nil }
    plans.withLock { plans in
      if plans.count >= keptLengths { plans.removeAll() }
      plans[length] = plan
    }
    return plan
  }

  /// [rows, 2 length] to [rows, length + 1, 2].
  func real(
    _ x: UnsafePointer<Float>, _ rows: Int, _ y: UnsafeMutablePointer<Float>, scale: Float, innerWeight: Float
  ) {
    let bins = length + 1
    groups(rows) { kernels, first, count, block, work in
      kernels.load(x + first * 2 * length, 2 * length, count, length, 0, block)
      let done = kernels.transform(plan, block, work)!
      let spectrum = done == block ? work : block
      kernels.split(plan, done, innerWeight, spectrum)
      kernels.store(spectrum, bins, 0, scale, y + first * 2 * bins, 2 * bins, count)
    }
  }

  /// [rows, length + 1, 2] to [rows, 2 length].
  func inverseReal(
    _ x: UnsafePointer<Float>, _ rows: Int, _ y: UnsafeMutablePointer<Float>, scale: Float, innerWeight: Float
  ) {
    let bins = length + 1
    groups(rows) { kernels, first, count, block, work in
      kernels.load(x + first * 2 * bins, 2 * bins, count, bins, 0, block)
      kernels.join(plan, block, innerWeight, work)
      let done = kernels.transform(plan, work, block)
      kernels.store(done, length, 1, scale, y + first * 2 * length, 2 * length, count)
    }
  }

  /// [rows, length, 2] to the same.
  func complex(
    _ x: UnsafePointer<Float>, _ rows: Int, _ y: UnsafeMutablePointer<Float>, inverse: Bool, scale: Float
  ) {
    let width = 2 * length
    groups(rows) { kernels, first, count, block, work in
      kernels.load(x + first * width, width, count, length, inverse ? 1 : 0, block)
      let done = kernels.transform(plan, block, work)
      kernels.store(done, length, inverse ? 1 : 0, scale, y + first * width, width, count)
    }
  }

  /// Calls `body` for every group of as many rows as there are lanes, with two blocks of length + 1 to work in.
  private func groups(
    _ rows: Int,
    _ body: (
      _ kernels: braid_fourier_kernels, _ first: Int, _ count: Int, _ block: UnsafeMutablePointer<Float>,
      _ work: UnsafeMutablePointer<Float>
    ) -> Void
  ) {
    let kernels = CPU.kernels.pointee.fourier
    let lanes = kernels.lanes
    let size = (length + 1) * 2 * lanes
    parallelRanges((rows + lanes - 1) / lanes, minimum: Swift.max(1, 16_384 / size)) { range in
      withUnsafeTemporaryAllocation(byteCount: 2 * size * 4, alignment: 64) { memory in
        let block = memory.baseAddress!.assumingMemoryBound(to: Float.self)
        for group in range {
          let first = group * lanes
          body(kernels, first, Swift.min(lanes, rows - first), block, block + size)
        }
      }
    }
  }
}
