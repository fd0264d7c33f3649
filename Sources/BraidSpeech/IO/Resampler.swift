import CSampleRate
import Foundation

/// Changes the sample rate of one channel as its samples come, by libsamplerate's band-limited interpolation
/// (SRC_SINC_MEDIUM_QUALITY: 121 dB signal to noise, 90 % of the band).
///
/// Output sample n stands at the time of input sample n x from / to. Not for use by several tasks at once.
public final class Resampler {
  private let state: OpaquePointer?
  private let ratio: Double
  private var taken = 0
  private var given = 0

  /// Rates may differ by a factor of 256 at most.
  public static func canConvert(from: Int, to: Int) -> Bool {
    from > 0 && to > 0 && src_is_valid_ratio(Double(to) / Double(from)) != 0
  }

  /// Samples that come of so many.
  public static func length(_ count: Int, from: Int, to: Int) -> Int {
    Int((Double(count) * (Double(to) / Double(from))).rounded())
  }

  public init(from: Int, to: Int) {
    precondition(Self.canConvert(from: from, to: to), "Resampler: from \(from) Hz to \(to) Hz")
    ratio = Double(to) / Double(from)
    var error: Int32 = 0
    state = from == to ? nil : src_new(Int32(SRC_SINC_MEDIUM_QUALITY), 1, &error)
    precondition(from == to || state != nil, "Resampler: out of memory")
  }

  deinit { if let state { src_delete(state) } }

  /// The output that the samples so far allow; with `isLast`, all of it: as many as inputs x ratio, rounded.
  public func process(_ samples: [Float], isLast: Bool = false) -> [Float] {
    taken += samples.count
    guard let state else { return samples }
    var output: [Float] = []
    var used = 0
    let block = 1 << 14
    var buffer = [Float](repeating: 0, count: block)
    samples.withUnsafeBufferPointer { samples in
      buffer.withUnsafeMutableBufferPointer { buffer in
        while true {
          var data = SRC_DATA()
          var none: Float = 0
          withUnsafePointer(to: &none) { empty in
            data.data_in = samples.baseAddress.map { $0 + used } ?? empty
            data.input_frames = samples.count - used
            data.data_out = buffer.baseAddress
            data.output_frames = block
            data.end_of_input = isLast ? 1 : 0
            data.src_ratio = ratio
            src_process(state, &data)
          }
          used += data.input_frames_used
          output += buffer[0..<data.output_frames_gen]
          if data.output_frames_gen < block && used == samples.count { break }
          if data.output_frames_gen == 0 && data.input_frames_used == 0 { break }
        }
      }
    }
    if isLast {
      let total = Int((Double(taken) * ratio).rounded())
      let missing = total - given - output.count
      if missing > 0 { output += [Float](repeating: 0, count: missing) }
      if missing < 0 { output.removeLast(min(output.count, -missing)) }
    }
    given += output.count
    return output
  }
}
