import BraidSpeech
import CBraidSpeech

// The functions of braid_speech.h. They are public so that the library keeps their symbols.

private func failed(_ status: braid_speech_status, _ text: String) -> braid_speech_status {
  braid_speech_set_error(text)
  return status
}

private func invalid(_ text: String) -> braid_speech_status { failed(BRAID_SPEECH_INVALID_ARGUMENT, text) }

private func handle(_ stream: OpaquePointer?) -> StreamHandle? {
  stream.map { Unmanaged<StreamHandle>.fromOpaque(UnsafeRawPointer($0)).takeUnretainedValue() }
}

@_cdecl("braid_speech_create")
public func createStream(
  _ model: UnsafePointer<CChar>?, _ stream: UnsafeMutablePointer<OpaquePointer?>?
) -> braid_speech_status {
  guard let stream else { return invalid("braid_speech_create: stream is NULL") }
  stream.pointee = nil
  do {
    let created = try StreamHandle(model: model.map { String(cString: $0) } ?? BRAID_SPEECH_STANDARD_MODEL)
    stream.pointee = OpaquePointer(Unmanaged.passRetained(created).toOpaque())
    return BRAID_SPEECH_OK
  } catch {
    return failed(BRAID_SPEECH_NO_MODEL, "\(error)")
  }
}

@_cdecl("braid_speech_frame_size")
public func frameSize(_ stream: OpaquePointer?) -> Int { handle(stream)?.processor.hop ?? 0 }

@_cdecl("braid_speech_delay")
public func delay(_ stream: OpaquePointer?) -> Int { handle(stream)?.processor.delay ?? 0 }

@_cdecl("braid_speech_process")
public func processFrame(
  _ stream: OpaquePointer?, _ input: UnsafePointer<Float>?, _ output: UnsafeMutablePointer<Float>?,
  _ samples: Int
) -> braid_speech_status {
  guard let stream = handle(stream), let input, let output else {
    return invalid("braid_speech_process: an argument is NULL")
  }
  guard samples == stream.processor.hop else {
    return invalid("braid_speech_process: \(samples) samples, a frame has \(stream.processor.hop)")
  }
  stream.processor.process(input, to: output)
  return BRAID_SPEECH_OK
}

@_cdecl("braid_speech_flush")
public func flushStream(
  _ stream: OpaquePointer?, _ output: UnsafeMutablePointer<Float>?, _ capacity: Int
) -> braid_speech_status {
  guard let processor = handle(stream)?.processor, let output else {
    return invalid("braid_speech_flush: an argument is NULL")
  }
  guard capacity >= processor.delay else {
    return invalid("braid_speech_flush: room for \(capacity) samples, \(processor.delay) are written")
  }
  withUnsafeTemporaryAllocation(of: Float.self, capacity: processor.hop) { zeros in
    zeros.initialize(repeating: 0)
    for start in stride(from: 0, to: processor.delay, by: processor.hop) {
      processor.process(zeros.baseAddress!, to: output + start)
    }
  }
  processor.reset()
  return BRAID_SPEECH_OK
}

@_cdecl("braid_speech_reset")
public func resetStream(_ stream: OpaquePointer?) -> braid_speech_status {
  guard let stream = handle(stream) else { return invalid("braid_speech_reset: stream is NULL") }
  stream.processor.reset()
  return BRAID_SPEECH_OK
}

@_cdecl("braid_speech_state_size")
public func stateSize(_ stream: OpaquePointer?) -> Int { handle(stream)?.stateSize ?? 0 }

@_cdecl("braid_speech_save")
public func saveStream(
  _ stream: OpaquePointer?, _ state: UnsafeMutableRawPointer?, _ size: Int
) -> braid_speech_status {
  guard let stream = handle(stream), let state else {
    return invalid("braid_speech_save: an argument is NULL")
  }
  guard size == stream.stateSize else {
    return invalid("braid_speech_save: \(size) bytes, a state has \(stream.stateSize)")
  }
  stream.save(to: state)
  return BRAID_SPEECH_OK
}

@_cdecl("braid_speech_restore")
public func restoreStream(_ stream: OpaquePointer?, _ state: UnsafeRawPointer?, _ size: Int)
  -> braid_speech_status
{
  guard let stream = handle(stream), let state else {
    return invalid("braid_speech_restore: an argument is NULL")
  }
  guard size == stream.stateSize else {
    return invalid("braid_speech_restore: \(size) bytes, a state has \(stream.stateSize)")
  }
  guard stream.restore(from: state) else {
    return failed(BRAID_SPEECH_BAD_STATE, "the state was saved by another model, or it is damaged")
  }
  return BRAID_SPEECH_OK
}

@_cdecl("braid_speech_destroy")
public func destroyStream(_ stream: OpaquePointer?) {
  if let stream { Unmanaged<StreamHandle>.fromOpaque(UnsafeRawPointer(stream)).release() }
}
