import CKissFFT
import Foundation
import Synchronization

/// One prepared transform of KissFFT. Real plans hold scratch memory, so a plan serves one thread at a time.
final class FourierPlan: @unchecked Sendable {
  enum Kind: Hashable { case real, inverseReal, complex, inverseComplex }
  struct Key: Hashable {
    let kind: Kind
    let length: Int
  }

  let length: Int
  private let configuration: OpaquePointer
  /// Where the configuration lies: KissFFT's own allocation could fail without a way to say so.
  private let memory: UnsafeMutableRawPointer
  private let byteCount: Int

  /// Real kinds are for even lengths.
  init(_ key: Key) {
    precondition(
      key.length > 0 && key.length <= Int32.max
        && (key.length.isMultiple(of: 2) || key.kind == .complex || key.kind == .inverseComplex),
      "Fourier transform: no \(key.kind) plan for a length of \(key.length)")
    length = key.length
    // Without memory only the size comes back.
    var size = 0
    _ = Self.make(key, nil, &size)
    byteCount = size
    memory = Memory.allocate(size)
    configuration = Self.make(key, memory, &size)!
  }

  deinit { Memory.deallocate(memory, byteCount) }

  private static func make(
    _ key: Key, _ memory: UnsafeMutableRawPointer?, _ size: inout Int
  ) -> OpaquePointer? {
    let length = Int32(key.length)
    return switch key.kind {
    case .real: kiss_fftr_alloc(length, 0, memory, &size)
    case .inverseReal: kiss_fftr_alloc(length, 1, memory, &size)
    case .complex: kiss_fft_alloc(length, 0, memory, &size)
    case .inverseComplex: kiss_fft_alloc(length, 1, memory, &size)
    }
  }

  func real(_ x: UnsafePointer<Float>, _ spectrum: UnsafeMutablePointer<Float>) {
    kiss_fftr(configuration, x, UnsafeMutableRawPointer(spectrum).assumingMemoryBound(to: kiss_fft_cpx.self))
  }
  func inverseReal(_ spectrum: UnsafePointer<Float>, _ x: UnsafeMutablePointer<Float>) {
    kiss_fftri(configuration, UnsafeRawPointer(spectrum).assumingMemoryBound(to: kiss_fft_cpx.self), x)
  }
  /// Out of place.
  func complex(_ x: UnsafePointer<Float>, _ y: UnsafeMutablePointer<Float>) {
    kiss_fft(
      configuration, UnsafeRawPointer(x).assumingMemoryBound(to: kiss_fft_cpx.self),
      UnsafeMutableRawPointer(y).assumingMemoryBound(to: kiss_fft_cpx.self))
  }

  private static let idle = Mutex<[Key: [FourierPlan]]>([:])
  private static let keptLengths = 64

  /// Runs `body` with a plan that nobody else uses meanwhile; plans are kept for the next call.
  static func with<Result>(_ kind: Kind, _ length: Int, _ body: (FourierPlan) -> Result) -> Result {
    let key = Key(kind: kind, length: length)
    let plan = idle.withLock { $0[key]?.popLast() } ?? FourierPlan(key)
    defer {
      idle.withLock { plans in
        if plans.count >= keptLengths && plans[key] == nil { plans.removeAll() }
        plans[key, default: []].append(plan)
      }
    }
    return body(plan)
  }
}
