import ArgumentParser
import Braid
import Foundation

/// braid bench stream
struct BenchStreamCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stream",
    abstract: "Time a speech enhancement model that works on a stream, frame by frame.",
    discussion: """
      Noise goes through the model frame by frame, on one thread, as fast as it can or in the time of the signal. Printed \
      are the real-time factor (time taken to time of the signal), the median, the 99.9th percentile and the worst \
      time of a frame, by the clock and by this thread's processor time (which leaves out other programs), and the \
      memory of the process after a tenth of the signal and at its end.

      Example: braid bench stream --seconds 600
      """)

  @OptionGroup var model: ModelOptions
  @Option(help: "Seconds of the signal.") var seconds = 600.0
  @Flag(help: "Begin each frame when its samples would be there: a minute of the signal takes a minute.")
  var paced = false
  @OptionGroup var report: ReportOptions

  func validate() throws {
    guard (1...100_000).contains(seconds) else { throw ValidationError("--seconds must be 1 to 100000.") }
  }

  mutating func run() async throws {
    let console = Console(report)
    try await reporting(console) {
      let loaded = try model.speechRequest(streams: true).load()
      guard let model = loaded.model as? StreamingMambAttention else {
        throw EnhanceError.cannotStream(architecture: type(of: loaded.model).architecture)
      }
      let stream = EnhancementStream(model: model)
      let (size, rate) = (stream.frameSize, model.sampleRate)
      var generator = Philox(seed: 1)
      let noise = Tensor.normal([64, size], standardDeviation: 0.1, using: &generator).floats
      let frames = Int(seconds * Double(rate) / Double(size))
      var (clock, processor) = ([Float](repeating: 0, count: frames), [Float](repeating: 0, count: frames))
      var sum: Float = 0
      var early = 0
      noise.withUnsafeBufferPointer { samples in
        func step(_ t: Int) {
          let frame = UnsafeBufferPointer(rebasing: samples[t % 64 * size..<(t % 64 + 1) * size])
          stream.process(frame) { sum += $0[0] }
        }
        for t in 0..<20 { step(t) }
        let origin = Self.seconds(CLOCK_MONOTONIC)
        for t in 0..<frames {
          if paced { Self.sleep(until: origin + Double((t + 1) * size) / Double(rate)) }
          if t == frames / 10 { early = Self.residentBytes }
          let (start, begun) = (Self.seconds(CLOCK_MONOTONIC), Self.seconds(CLOCK_THREAD_CPUTIME_ID))
          step(t)
          processor[t] = Float(Self.seconds(CLOCK_THREAD_CPUTIME_ID) - begun)
          clock[t] = Float(Self.seconds(CLOCK_MONOTONIC) - start)
        }
      }
      let late = Self.residentBytes
      for (name, times) in [("clock", clock.sorted()), ("processor", processor.sorted())] {
        let total = times.reduce(0.0) { $0 + Double($1) }
        let factor = total / (Double(frames * size) / Double(rate))
        let (median, high, worst) = (times[frames / 2], times[frames - 1 - frames / 1000], times[frames - 1])
        console.result(
          String(
            format: "%@: real-time factor %.4f; a frame %.3f ms, 99.9th percentile %.3f ms, worst %.3f ms",
            name,
            factor, median * 1e3, high * 1e3, worst * 1e3),
          [
            ("row", .string(name)), ("frames", .integer(frames)), ("real_time_factor", .number(factor)),
            ("median_seconds", .number(Double(median))), ("high_seconds", .number(Double(high))),
            ("worst_seconds", .number(Double(worst))),
          ])
      }
      console.result(
        String(
          format: "memory: %.1f MB after %.0f s, %.1f MB after %.0f s", Double(early) * 1e-6, seconds / 10,
          Double(late) * 1e-6, seconds),
        [
          ("row", .string("memory")), ("early_bytes", .integer(early)), ("late_bytes", .integer(late)),
          ("checksum", .number(Double(sum))),
        ])
    }
  }

  private static func seconds(_ clock: clockid_t) -> Double {
    var time = timespec()
    clock_gettime(clock, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }

  private static func sleep(until end: Double) {
    let left = end - seconds(CLOCK_MONOTONIC)
    if left > 0 { usleep(UInt32(left * 1e6)) }
  }

  /// Memory of the process that is in use now.
  private static var residentBytes: Int {
    let fields = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8))?.split(separator: " ")
    return fields.flatMap { $0.count > 1 ? Int($0[1]) : nil }.map { $0 * Int(sysconf(Int32(_SC_PAGESIZE))) }
      ?? 0
  }
}
