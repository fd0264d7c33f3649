import Braid

/// The files that `braid enhance` reads and writes; their format is the extension.
struct RecordingFiles: BatchFiles {
  /// How samples are stored, where that was asked for.
  let encoding: AudioFormat.Encoding?

  var noun: (one: String, several: String) { ("recording", "recordings") }
  var suffixes: String { ".wav, .flac, .aiff, .ogg, .opus or .mp3" }

  func accepts(_ path: String) -> Bool {
    AudioFormat.suffix(ofPath: path) != nil || (try? AudioReader(path)) != nil
  }

  func format(ofInput path: String) -> String {
    let suffix = AudioFormat.suffix(ofPath: path)
    switch encoding {
    case .flac: return "flac"
    case nil: return suffix ?? "wav"
    case .pcm16, .pcm24, .float32:
      // Where the input's container does not hold it.
      let format = AudioFormat(code: 0, sampleRate: 16000, channels: 1)
      guard let suffix, (try? format.forOutput(path, encoding: encoding, sampleRate: 16000)) != nil
      else { return "wav" }
      return suffix
    }
  }

  func format(named path: String) -> String? { AudioFormat.suffix(ofPath: path) }

  func format(ofOutput path: String) throws -> (String, note: String?) {
    if let suffix = AudioFormat.suffix(ofPath: path) { return (suffix, nil) }
    guard encoding == .flac else {
      throw Failure.usage("\(path): the extension names no audio format", hint: "use \(suffixes)")
    }
    return ("flac", nil)
  }

  func suffix(_ format: String) -> String { format }
}
