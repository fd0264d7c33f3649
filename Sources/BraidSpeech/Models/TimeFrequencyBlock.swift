import BraidMixers
import BraidNN
import BraidTensor

/// Shared attention and a bidirectional mixer over time, then over frequency.
///
///     x = x + A(x);  x = x + W_t [f(x), b(x)] + b_t      sequences over time, one per frequency
///     x = x + A(x);  x = x + W_f [f'(x), b'(x)] + b_f    sequences over frequency, one per frame; the same A
///     A(x) = MHA(LN(x));  f(x) = mixer(norm(x)) + x;  b(x) the same on the reversed sequence
///
/// The mixer is Mamba behind an RMS norm, an LSTM behind one, or an mLSTM behind a layer norm; A may be missing.
/// Source: Kuehne et al., "MambAttention: Mamba with multi-head attention for generalizable single-channel speech
/// enhancement", 2025; without A, Chao et al., "An investigation of incorporating Mamba for speech enhancement", 2024,
/// and Kuehne et al., "xLSTM-SENet: xLSTM for single-channel speech enhancement", 2025.
struct TimeFrequencyBlock: Sendable {
  /// Tokens that go through a mixer at once without a gradient, about: what they need stays in the caches.
  static let chunkTokens = 4096

  let attention: SharedAttention?
  let time: BidirectionalPair
  let frequency: BidirectionalPair

  init(_ scope: ParameterScope, _ c: MambAttention.Configuration) throws {
    time = try c.pair(blocks: scope("time_\(c.mixer.scopeName)"), projection: scope("tlinear"))
    frequency = try c.pair(blocks: scope("freq_\(c.mixer.scopeName)"), projection: scope("flinear"))
    attention =
      c.attention == .shared ? SharedAttention(scope("attention"), channels: c.channels, heads: c.heads) : nil
  }

  /// Replaces x [batch, time, frequency, channels]; where no gradient is wanted, in place: nobody else may hold x then.
  func apply(to x: inout Tensor) {
    let (batch, frames, bins, channels) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
    if Autograd.isRecording && (x.requiresGradient || time.requiresGradient) {
      var y = x.permuted(0, 2, 1, 3).contiguous().reshaped(batch * bins, frames, channels)
      y = mixed(y, time).reshaped(batch, bins, frames, channels).permuted(0, 2, 1, 3).contiguous()
        .reshaped(batch * frames, bins, channels)
      x = mixed(y, frequency).reshaped(batch, frames, bins, channels)
      return
    }
    if let time = fused(time), let frequency = fused(frequency) {
      for image in 0..<batch {
        let map = x.selected(axis: 0, image)
        time.apply(to: map.permuted(1, 0, 2))
        frequency.apply(to: map)
      }
      return
    }
    func chunks(_ count: Int, tokens: Int) -> [Range<Int>] {
      let pieces = (count * tokens + Self.chunkTokens - 1) / Self.chunkTokens
      let size = max(1, (count + pieces - 1) / max(1, pieces))
      return stride(from: 0, to: count, by: size).map { $0..<min(count, $0 + size) }
    }
    for image in 0..<batch {
      let map = x.selected(axis: 0, image)
      for range in chunks(bins, tokens: frames) {
        let columns = map.sliced(axis: 1, range).permuted(1, 0, 2)
        columns.overwrite(with: mixed(columns.contiguous(), time))
      }
      for range in chunks(frames, tokens: bins) {
        let rows = map.sliced(axis: 0, range)
        rows.overwrite(with: mixed(rows, frequency))
      }
    }
  }

  /// Attention and a pair as one operation, where there is one for them.
  private func fused(_ pair: BidirectionalPair) -> BidirectionalPass? {
    guard let attention else { return pair.fused() }
    guard attention.hasNarrowHeads else { return nil }
    return pair.fused(behind: attention.parameters) { attention.fused }
  }

  /// Sequences [batch, length, channels] to the same.
  private func mixed(_ x: Tensor, _ pair: BidirectionalPair) -> Tensor {
    let y = attention.map { $0(x) } ?? x
    return pair(y, residual: y)
  }
}
