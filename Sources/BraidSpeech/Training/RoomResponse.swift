import BraidTensor
import Foundation

/// A room's response to an impulse: the direct sound, then noise that decays exponentially.
struct RoomResponse: Sendable {
  /// The taps; the first is the direct sound, 1.
  let taps: [Float]
  /// Taps of the direct sound and the reflections that still belong to it: 50 ms.
  let earlyCount: Int

  /// - Parameter time: seconds to fall by 60 dB.
  init(time: Float, sampleRate: Int, using draw: inout Philox) {
    let count = max(1, Int(time * Float(sampleRate)))
    earlyCount = min(count, sampleRate / 20)
    let gap = 1 + draw.integer(max(1, sampleRate / 100))
    // The reflections' energy, to that of the direct sound.
    let reflected = pow(10, Double(draw.uniform(-12...3)) / 10)
    let noise = Tensor.normal([count], using: &draw).floats
    var taps = (0..<count).map { n in
      n < gap ? 0 : noise[n] * Float(pow(10, -3 * Double(n) / Double(count)))
    }
    let energy = NoisyMixture.energy(taps)
    let gain = energy > 0 ? Float((reflected / energy).squareRoot()) : 0
    for n in taps.indices { taps[n] *= gain }
    taps[0] = 1
    self.taps = taps
  }

  /// What is heard of a signal.
  func heard(_ x: [Float]) -> [Float] { convolved(x, taps) }

  /// The direct sound and early reflections of a signal.
  func early(_ x: [Float]) -> [Float] { convolved(x, Array(taps[0..<earlyCount])) }

  private func convolved(_ x: [Float], _ taps: [Float]) -> [Float] {
    withoutGradient {
      Tensor(x, shape: [1, x.count, 1]).longConvolved(Tensor(taps, shape: [1, taps.count])).floats
    }
  }
}
