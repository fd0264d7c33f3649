import BraidTensor
import Foundation

/// The short-time Fourier transform of signals and its inverse, as torch.stft and torch.istft compute them with
/// centred frames and a periodic Hann window.
public struct ShortTimeFourier: Sendable, Hashable {
  /// Samples of a frame.
  public let size: Int
  /// Samples from one frame to the next.
  public let hop: Int

  public init(size: Int = 400, hop: Int = 100) {
    precondition(size > 0 && size % 2 == 0 && hop > 0 && hop <= size / 2, "a frame of \(size), every \(hop)")
    self.size = size
    self.hop = hop
  }

  /// Frequency bins of a frame.
  public var bins: Int { size / 2 + 1 }

  /// Frames of a signal of that many samples.
  public func frameCount(_ length: Int) -> Int { length / hop + 1 }

  /// The fewest samples that can be transformed: half a frame is mirrored at each end.
  public var shortestSignal: Int { size / 2 + 1 }

  /// The periodic Hann window [size].
  public var window: Tensor {
    let size = size
    return Tensor.build([size]) { out in
      for i in 0..<size { out[i] = Float(0.5 - 0.5 * cos(2 * Double.pi * Double(i) / Double(size))) }
    }
  }

  /// The spectra of signals [batch, samples] as (real, imaginary): [batch, frames, bins, 2].
  ///
  /// What is real by symmetry has the imaginary part +0, not rounding noise: bin 0, the last bin, the frame centred
  /// on sample 0, and the frame centred on the last sample where there is one. So the sign of its phase is known.
  public func spectra(_ signals: Tensor) -> Tensor {
    precondition(
      signals.rank == 2 && signals.shape[1] >= shortestSignal,
      "ShortTimeFourier: signals \(signals.shape), at least \(shortestSignal) samples are needed")
    let length = signals.shape[1]
    let padded = signals.padded(axis: 1, before: size / 2, after: size / 2, mode: .reflect)
    let spectra = (padded.framed(size: size, hop: hop) * window).realFourierTransformed()
    // -0 + 0 is +0.
    return spectra * realityMask(frames: frameCount(length), endsOnFrame: (length - 1) % hop == 0) + 0
  }

  /// Compressed magnitude and phase of signals [batch, samples] times gains: each [batch, frames, bins].
  ///
  /// |X|^compression and the angle of X, computed in double precision throughout: what `spectra` says in the end, but
  /// exact for weak bins too. Not recorded: no gradient flows through.
  public func polarSpectra(_ signals: Tensor, gains: [Double], compression: Double) -> (
    magnitude: Tensor, phase: Tensor
  ) {
    let (batch, length) = (signals.shape[0], signals.shape[1])
    precondition(
      signals.rank == 2 && length >= shortestSignal && gains.count == batch,
      "ShortTimeFourier: signals \(signals.shape), \(gains.count) gains")
    let (frames, bins, size, hop) = (frameCount(length), bins, size, hop)
    let fourier = PreciseFourier(length: size)
    let window = (0..<size).map { 0.5 - 0.5 * cos(2 * Double.pi * Double($0) / Double(size)) }
    let endsOnFrame = (length - 1) % hop == 0
    let phase = Tensor.uninitialized([batch, frames, bins])
    let magnitude = Tensor.build([batch, frames, bins]) { magnitude in
      phase.overwrite(as: Float.self) { phase in
        signals.read { samples in
          parallelRanges(batch * frames, minimum: 8) { range in
            withUnsafeTemporaryAllocation(of: Double.self, capacity: 5 * size) { memory in
              let frame = memory.baseAddress!
              let (real, imaginary) = (frame + size, frame + 2 * size)
              for index in range {
                let (row, t) = index.quotientAndRemainder(dividingBy: frames)
                for i in 0..<size {
                  var n = t * hop + i - size / 2
                  if n < 0 { n = -n }
                  if n >= length { n = 2 * (length - 1) - n }
                  frame[i] = Double(samples[row * length + n]) * gains[row] * window[i]
                }
                fourier.transform(frame, real: real, imaginary: imaginary, scratch: frame + 3 * size)
                let symmetric = t == 0 || (endsOnFrame && t == frames - 1)
                for bin in 0..<bins {
                  let (re, im) = (real[bin], symmetric || bin == 0 || bin == bins - 1 ? 0 : imaginary[bin])
                  magnitude[index * bins + bin] = Float(pow((re * re + im * im).squareRoot(), compression))
                  phase[index * bins + bin] = Float(atan2(im, re))
                }
              }
            }
          }
        }
      }
    }
    return (magnitude, phase)
  }

  /// Signals [batch, length] from spectra [batch, frames, bins, 2]: windowed, overlapped, added, and divided by the
  /// windows' squares, without the half frame before the first sample.
  public func signals(_ spectra: Tensor, length: Int) -> Tensor {
    let frames = spectra.shape[1]
    precondition(
      spectra.rank == 4 && spectra.shape[2] == bins && length > 0 && frameCount(length) == frames,
      "ShortTimeFourier: spectra \(spectra.shape) for \(length) samples")
    let window = window
    let added = (spectra.inverseRealFourierTransformed(length: size) * window).overlapAdded(hop: hop)
    let range = size / 2..<size / 2 + length
    let weight = window.squared().broadcast(to: [frames, size]).overlapAdded(hop: hop)
    return added.sliced(axis: 1, range) / weight.sliced(axis: 0, range)
  }

  /// 0 where the imaginary part is 0 by symmetry, 1 elsewhere: [frames, bins, 2].
  private func realityMask(frames: Int, endsOnFrame: Bool) -> Tensor {
    let bins = bins
    return Tensor.build([frames, bins, 2]) { out in
      for t in 0..<frames {
        let symmetric = t == 0 || (endsOnFrame && t == frames - 1)
        for bin in 0..<bins {
          out[(t * bins + bin) * 2] = 1
          out[(t * bins + bin) * 2 + 1] = symmetric || bin == 0 || bin == bins - 1 ? 0 : 1
        }
      }
    }
  }
}
