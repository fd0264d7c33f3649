import Braid
import Foundation

/// Cleans a recording of speech with the models that ship with Braid, from a program:
/// `enhance-example NOISY CLEAN FOLDER`.
///
/// Writes FOLDER/whole.wav (the whole recording at once) and FOLDER/live.wav (10 ms after 10 ms, as a call or a
/// microphone would give them) and prints the gains against CLEAN, a recording of the same length.
@main
struct EnhanceExample {
  static func main() async {
    do {
      try await run()
    } catch {
      FileHandle.standardError.write(Data("\(error)\n".utf8))
      exit(65)
    }
  }

  static func run() async throws {
    let arguments = CommandLine.arguments
    guard arguments.count == 4 else {
      FileHandle.standardError.write(Data("usage: enhance-example NOISY CLEAN FOLDER\n".utf8))
      exit(64)
    }
    let (noisyPath, cleanPath, folder) = (arguments[1], arguments[2], arguments[3])

    // A recording: any format, rate and length, in constant memory.
    let loaded = try EnhancementModelRequest().load()
    let result = try await EnhancePipeline(loaded.model).run(input: noisyPath, output: folder + "/whole.wav")
    print(String(format: "%@: %d samples in %.2f s", loaded.name, result.outputLength, result.seconds))

    // A stream: blocks of any size at the model's rate; as many samples come out as went in.
    let live = try EnhancementModelRequest(streams: true).load()
    guard let model = live.model as? StreamingMambAttention else { exit(69) }
    let stream = EnhancementStream(model: model)
    let (samples, format) = try AudioReader.readAll(noisyPath)
    guard format.sampleRate == model.sampleRate, format.channels == 1 else {
      FileHandle.standardError.write(Data("the stream of this example takes one channel at 16 kHz\n".utf8))
      exit(65)
    }
    var output: [Float] = []
    for start in stride(from: 0, to: samples.count, by: 160) {
      output += stream.process(Array(samples[start..<min(samples.count, start + 160)]))
    }
    output += stream.finish()
    let writer = try AudioWriter(folder + "/live.wav", format: format)
    try writer.write(output)
    try writer.commit()

    let (clean, _) = try AudioReader.readAll(cleanPath)
    let (whole, _) = try AudioReader.readAll(folder + "/whole.wav")
    let before = SpeechQuality.scaleInvariantRatio(samples, reference: clean)
    for (name, signal) in [(loaded.name, whole), (live.name, output)] {
      let after = SpeechQuality.scaleInvariantRatio(signal, reference: clean)
      print(String(format: "%@: SI-SDR %.2f dB before, %.2f dB after", name, before, after))
    }
  }
}
