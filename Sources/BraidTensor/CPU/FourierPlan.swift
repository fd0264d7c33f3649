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

  /// Real kinds are for even lengths.
  init(_ key: Key) {
    length = key.length
    let made: OpaquePointer? =
      switch key.kind {
      case .real: kiss_fftr_alloc(Int32(key.length), 0, nil, nil)
      case .inverseReal: kiss_fftr_alloc(Int32(key.length), 1, nil, nil)
      case .complex: kiss_fft_alloc(Int32(key.length), 0, nil, nil)
      case .inverseComplex: kiss_fft_alloc(Int32(key.length), 1, nil, nil)
      }
    guard let made else { fatalError("Fourier transform: no plan for a length of \(key.length)") }
    configuration = made
  }

  deinit { free(UnsafeMutableRawPointer(configuration)) }

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
