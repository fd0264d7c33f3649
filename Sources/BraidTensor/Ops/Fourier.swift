/// How a Fourier transform and its inverse are scaled, as in torch.fft.
public enum FourierScaling: String, Sendable, Hashable, CaseIterable {
  /// Forward by 1, inverse by 1/n.
  case backward
  /// Both by 1/sqrt(n).
  case ortho
  /// Forward by 1/n, inverse by 1.
  case forward

  func factor(_ length: Int, inverse: Bool) -> Float {
    switch self {
    case .backward: inverse ? 1 / Float(length) : 1
    case .ortho: 1 / Float(length).squareRoot()
    case .forward: inverse ? 1 : 1 / Float(length)
    }
  }
}

// Complex numbers are pairs (real, imaginary) along a last axis of size 2, as torch.view_as_real lays them out. Any
// length of at least 1; lengths whose prime factors are 2, 3 and 5 are fastest.

extension Tensor {
  /// The spectrum of real signals along the last axis: [..., n] to [..., n / 2 + 1, 2].
  ///
  /// X[k] = scale sum over t of x[t] exp(-2 pi i k t / n), k = 0 ... n / 2 (torch.fft.rfft).
  public func realFourierTransformed(scaling: FourierScaling = .backward) -> Tensor {
    precondition(rank >= 1 && shape[-1] > 0, "realFourierTransformed: \(shape) has no signals")
    let length = shape[-1]
    let scale = scaling.factor(length, inverse: false)
    let output = CPU.realFourier(detached.cast(to: .float32), scale: scale)
    return Tensor.record("realFourierTransformed", output, inputs: [self]) { gradient, _ in
      // The inverse counts the inner bins twice, once for their mirror image; here each counts once.
      [CPU.inverseRealFourier(gradient, length: length, scale: scale, innerWeight: 0.5)]
    }
  }

  /// Real signals of `length` from their spectrum: [..., length / 2 + 1, 2] to [..., length], the inverse of
  /// `realFourierTransformed` for the same scaling (torch.fft.irfft with n = length).
  ///
  /// The imaginary parts of bin 0 and, for an even length, of the last bin are taken as 0.
  public func inverseRealFourierTransformed(length: Int, scaling: FourierScaling = .backward) -> Tensor {
    precondition(
      rank >= 2 && length > 0 && shape[-1] == 2 && shape[-2] == length / 2 + 1,
      "inverseRealFourierTransformed: \(shape) is no spectrum of signals of \(length)")
    let scale = scaling.factor(length, inverse: true)
    let output = CPU.inverseRealFourier(
      detached.cast(to: .float32), length: length, scale: scale, innerWeight: 1)
    return Tensor.record("inverseRealFourierTransformed", output, inputs: [self]) { gradient, _ in
      [CPU.realFourier(gradient, scale: scale, innerWeight: 2)]
    }
  }

  /// The spectrum of complex signals [..., n, 2], or with `inverse` the signals of a spectrum: [..., n, 2]
  /// (torch.fft.fft and ifft).
  public func fourierTransformed(inverse: Bool = false, scaling: FourierScaling = .backward) -> Tensor {
    precondition(
      rank >= 2 && shape[-1] == 2 && shape[-2] > 0,
      "fourierTransformed: \(shape) has not the form [..., n, 2]")
    let scale = scaling.factor(shape[-2], inverse: inverse)
    let output = CPU.complexFourier(detached.cast(to: .float32), inverse: inverse, scale: scale)
    return Tensor.record("fourierTransformed", output, inputs: [self]) { gradient, _ in
      [CPU.complexFourier(gradient, inverse: !inverse, scale: scale)]
    }
  }

  /// The causal convolution of sequences [batch, length, channels] with one long filter per channel
  /// [channels, taps]: y[b, t, d] = sum over s <= t of filter[d, s] x[b, t - s, d].
  ///
  /// By Fourier transforms, in length log length operations; taps beyond the length have no effect.
  public func longConvolved(_ filter: Tensor) -> Tensor {
    precondition(
      rank == 3 && filter.rank == 2 && filter.shape[0] == shape[2],
      "longConvolved: filters of \(filter.shape) for sequences of \(shape)")
    let used = Swift.min(filter.shape[1], shape[1])
    if used == 0 || elementCount == 0 { return self * 0 }
    let rows = filter.sliced(axis: 1, 0..<used)
    let signals = transposed(1, 2)
    let (x, h) = (signals.detached.cast(to: .float32), rows.detached.cast(to: .float32))
    let convolved = CPU.causalConvolution(x, h)
    let output = Tensor.record("longConvolved", convolved, inputs: [signals, rows]) { gradient, needed in
      let (dx, dh) = CPU.causalConvolutionGradients(gradient, x, h, needed)
      return [dx, dh]
    }
    return output.transposed(1, 2).contiguous().cast(to: dtype)
  }
}
