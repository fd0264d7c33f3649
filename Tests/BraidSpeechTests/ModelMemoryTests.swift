import BraidNN
import BraidSpeech
import BraidTensor
import Foundation
import Testing

/// What models say of their memory, beside what they take. Alone in the process: other tests take memory too.
@Suite(
  .serialized, .enabled(if: ProcessInfo.processInfo.environment["BRAID_LONG_TESTS"] != nil))
struct ModelMemoryTests {
  private func peak(_ model: MambAttention, seconds: Int) -> Int {
    let signal = Tensor(
      (0..<16000 * seconds).map { Float(sin(Double($0) * 0.1)) }, shape: [1, 16000 * seconds])
    let before = Memory.currentBytes
    Memory.resetPeak()
    _ = withoutGradient { model.enhanced(signal) }
    return Memory.peakBytes - before
  }

  @Test(arguments: [
    MambAttention.Configuration(channels: 16, blocks: 1),
    MambAttention.Configuration(
      channels: 24, blocks: 2, heads: 2, stateSize: 8, expansion: 1, hop: 200, denseDepth: 2, input: .complex,
      phase: .residual),
    MambAttention.Configuration(blocks: 1),
  ])
  func memoryIsAsStated(_ configuration: MambAttention.Configuration) throws {
    let store = ParameterStore()
    let model = try MambAttention(configuration, store: store)
    store.initialize(seed: 1)
    store.freeze()
    // The first run packs weights.
    _ = peak(model, seconds: 1)
    let (short, long) = (peak(model, seconds: 2), peak(model, seconds: 6))
    let measured = Double(long - short) / 4
    print(
      "\(configuration.channels) channels: \(measured / 1e6) MB a second, stated \(Double(model.bytesPerSecond) / 1e6)"
    )
    #expect(measured < 1.1 * Double(model.bytesPerSecond))
    // Free blocks that are kept for reuse count for the process, not here.
    #expect(measured > 0.25 * Double(model.bytesPerSecond))
  }
}
