import BraidCheckpoint
import BraidSpeech
import BraidTensor
import CBraidModels
import CBraidSpeech

/// What a C program holds as `braid_speech_stream`.
final class StreamHandle {
  let processor: FrameProcessor
  /// Tells states of other models apart.
  private let fingerprint: UInt64

  /// What a saved state begins with; the digit is the version.
  private static let magic: UInt64 = 0x3150_5453_4452_4242  // "BBRDSTP1"
  private static let headerSize = 16

  init(model name: String) throws {
    let model = try Self.load(name)
    processor = FrameProcessor(model: model)
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for (_, value) in model.parameters.values {
      value.withBytes { for byte in $0 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 } }
    }
    fingerprint = hash
  }

  /// The model that a name or path means, with its weights.
  private static func load(_ name: String) throws -> StreamingMambAttention {
    var embedded: [EmbeddedModel] = []
    while let model = braid_model_at(embedded.count)?.pointee {
      embedded.append(
        EmbeddedModel(
          name: String(cString: model.name),
          bytes: UnsafeRawBufferPointer(start: model.bytes, count: model.count)))
    }
    let checkpoint = try ModelStore(embedded: embedded).open(name)
    guard let description = try ModelDescription(checkpoint) else {
      throw StreamFailure.notStreaming("\(checkpoint.path) does not say what model it is")
    }
    guard description.architecture == StreamingMambAttention.architecture,
      let model = try EnhancementModelFile.model(for: description, source: checkpoint.path)
        as? StreamingMambAttention
    else {
      throw StreamFailure.notStreaming(
        "\(checkpoint.path): \(description.architecture) cannot work on a stream")
    }
    try model.parameters.load(from: checkpoint)
    model.parameters.freeze()
    return model
  }

  // MARK: State

  var stateSize: Int { Self.headerSize + 4 * processor.stateCount }

  func save(to target: UnsafeMutableRawPointer) {
    target.storeBytes(of: Self.magic.littleEndian, as: UInt64.self)
    target.storeBytes(of: fingerprint.littleEndian, toByteOffset: 8, as: UInt64.self)
    withUnsafeTemporaryAllocation(of: Float.self, capacity: processor.stateCount) { numbers in
      processor.saveState(to: numbers.baseAddress!)
      (target + Self.headerSize).copyMemory(from: numbers.baseAddress!, byteCount: 4 * numbers.count)
    }
  }

  /// False, and nothing changed, where the bytes are not a state of this model.
  func restore(from source: UnsafeRawPointer) -> Bool {
    guard UInt64(littleEndian: source.loadUnaligned(as: UInt64.self)) == Self.magic,
      UInt64(littleEndian: source.loadUnaligned(fromByteOffset: 8, as: UInt64.self)) == fingerprint
    else { return false }
    return withUnsafeTemporaryAllocation(of: Float.self, capacity: processor.stateCount) { numbers in
      UnsafeMutableRawPointer(numbers.baseAddress!).copyMemory(
        from: source + Self.headerSize, byteCount: 4 * numbers.count)
      return processor.restoreState(from: numbers.baseAddress!)
    }
  }
}

/// Why a model cannot be used.
enum StreamFailure: Error, CustomStringConvertible {
  case notStreaming(String)

  var description: String {
    switch self {
    case .notStreaming(let text): text
    }
  }
}
