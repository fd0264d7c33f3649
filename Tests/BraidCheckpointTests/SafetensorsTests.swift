import BraidTensor
import Foundation
import OrderedCollections
import Testing

@testable import BraidCheckpoint

@Suite struct SafetensorsTests {
  /// Header, bytes of data, part of the message.
  static let bad: [(header: String, data: Int, part: String)] = [
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 7, "data_offsets"),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 9, "belong to no tensor"),
    (#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#, 8, "does not fill"),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#, 8, "data_offsets"),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#, 12, "leaves a gap"),
    (
      #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
      8, "overlaps"
    ),
    (
      #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
      8, "stands twice"
    ),
    (#"{"a":{"dtype":"F99","shape":[2],"data_offsets":[0,8]}}"#, 8, "F99"),
    (#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}"#, 0, "does not fill"),
    (#"{"a":{"dtype":"F32","shape":[4611686018427387904,0,4],"data_offsets":[0,0]}}"#, 0, "overflows"),
    (#"{"a":{"dtype":"F32","shape":[0,4611686018427387904,4],"data_offsets":[0,0]}}"#, 0, "overflows"),
    (#"{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#, 8, "from 0 up"),
    (#"{"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}"#, 8, "from 0 up"),
    (#"{"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,8]}}"#, 8, "from 0 up"),
    (#"{"a":{"dtype":"F32","shape":[2]}}"#, 8, "needs dtype"),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#, 8, "ends too early"),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}} x"#, 8, "more text"),
    (#"{"a":1}"#, 0, "expected '{'"),
    (#"{"__metadata__":{"a":1}}"#, 0, "expected"),
    ("{\"\u{0}\":1}", 0, "control character"),
    (#"{"\ud800":1}"#, 0, "lone surrogate"),
    (#"{"a":{"x":"# + String(repeating: "[", count: 5000), 0, "nested deeper"),
    (#"{"a":{"shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}}"#, 0, "more than 16"),
  ]

  @Test(arguments: bad.indices) func refuses(_ index: Int) throws {
    let (header, data, part) = Self.bad[index]
    try Fixture.withFolder { folder in
      try Fixture.write(Fixture.safetensors(header, data: data), folder + "a.safetensors")
      do {
        _ = try Checkpoint.open(folder + "a.safetensors")
        Issue.record("opened \(header)")
      } catch let error as CheckpointError {
        #expect(error.description.contains(part), "\(error)")
      }
    }
  }

  @Test func everyStoredTypeIsRead() throws {
    let values: [(StoredType, [UInt8], [Float])] = [
      (.float64, [0, 0, 0, 0, 0, 0, 0xF8, 0x3F], [1.5]), (.float32, [0, 0, 0xC0, 0x3F], [1.5]),
      (.float16, [0, 0x3E], [1.5]), (.bfloat16, [0xC0, 0x3F], [1.5]),
      (.int64, [0xFE, 255, 255, 255, 255, 255, 255, 255], [-2]), (.int32, [0xFE, 255, 255, 255], [-2]),
      (.int16, [0xFE, 255], [-2]), (.int8, [0xFE], [-2]), (.uint8, [0xFE], [254]), (.bool, [7], [1]),
    ]
    try Fixture.withFolder { folder in
      // Both at an aligned place and one byte off.
      for padding in [8, 9] {
        for (type, bytes, truth) in values {
          var header = #"{"a":{"dtype":"\#(type.rawValue)","shape":[1],"data_offsets":[0,\#(bytes.count)]}}"#
          while (8 + header.utf8.count) % 8 != padding % 8 { header += " " }
          try Fixture.write(Fixture.safetensors(header) + bytes, folder + "a")
          let tensor = try Checkpoint.open(folder + "a").tensor("a")
          #expect(tensor.dtype == type.dtype)
          #expect(tensor.floats == truth, "\(type)")
        }
      }
    }
  }

  @Test func writesWhatItReads() throws {
    let tensors: OrderedDictionary<String, Tensor> = [
      "bytes": Tensor([1, 2, 3] as [UInt8]),
      "weight": Tensor([1, -2, 3.5, 0, 5, 6] as [Float], shape: [2, 3]),
      "turned": Tensor([1, 2, 3, 4, 5, 6] as [Float], shape: [2, 3]).transposed(0, 1),
      "empty": Tensor([] as [Float], shape: [0, 4]),
      "scalar": Tensor(7),
      "index": Tensor([1, -1] as [Int64]),
      "\"naïve\"\n\u{1}": Tensor([9] as [Int32]),
      "half": Tensor([0.1, 65504, -1e-8] as [Float]),
      "brain": Tensor([0.1, 3e38, .pi] as [Float]),
    ]
    let metadata: OrderedDictionary = ["format": "pt", "a\"b": "\u{1B}"]
    try Fixture.withFolder { folder in
      for file in ["a", "b"] {
        try SafetensorsWriter.write(
          tensors.map { (key: $0.key, value: $0.value) }, metadata: metadata, to: folder + file
        ) { name, _ in name == "half" ? .float16 : name == "brain" ? .bfloat16 : nil }
      }
      #expect(
        try Data(contentsOf: URL(fileURLWithPath: folder + "a"))
          == Data(contentsOf: URL(fileURLWithPath: folder + "b")))
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder).sorted() == ["a", "b"])
      let checkpoint = try Checkpoint.open(folder + "a")
      #expect(checkpoint.metadata == metadata)
      #expect(Set(checkpoint.keys) == Set(tensors.keys))
      for (key, tensor) in tensors where key != "half" && key != "brain" {
        let read = try checkpoint.tensor(key)
        #expect(read.shape == tensor.shape && read.dtype == tensor.dtype && read.floats == tensor.floats)
      }
      #expect(try checkpoint.tensor("half").dtype == .float16)
      #expect(try checkpoint.tensor("half").floats == [0.099975586, 65504, 0])
      #expect(
        try checkpoint.tensor("brain").floats.map(\.bitPattern) == [0x3DCD_0000, 0x7F62_0000, 0x4049_0000])
    }
  }

  @Test func aFailedWriteLeavesNothing() throws {
    try Fixture.withFolder { folder in
      let tensor = Tensor([1] as [Float])
      #expect(throws: CheckpointError.self) {
        try SafetensorsWriter.write([(key: "a", value: tensor), (key: "a", value: tensor)], to: folder + "a")
      }
      #expect(throws: CheckpointError.self) {
        try SafetensorsWriter.write([(key: "a", value: tensor)], to: folder + "none/a")
      }
      try FileManager.default.createDirectory(atPath: folder + "taken", withIntermediateDirectories: false)
      #expect(throws: CheckpointError.self) {
        try SafetensorsWriter.write([(key: "a", value: tensor)], to: folder + "taken")
      }
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["taken"])
    }
  }

  @Test func shardsAreReadThroughTheirIndex() throws {
    try Fixture.withFolder { folder in
      try SafetensorsWriter.write(
        [(key: "a.x", value: Tensor([1] as [Float]))], to: folder + "one.safetensors")
      try SafetensorsWriter.write(
        [(key: "a.y", value: Tensor([2] as [Float])), (key: "c", value: Tensor(3))],
        to: folder + "two.safetensors")
      let index = folder + "model.safetensors.index.json"
      func open(_ map: String, _ path: String? = nil) throws -> Checkpoint {
        try Fixture.write(Array(#"{"metadata":{"total_size":12},"weight_map":\#(map)}"#.utf8), index)
        return try Checkpoint.open(path ?? index)
      }
      for path in [index, folder, String(folder.dropLast())] {
        let checkpoint = try open(#"{"a.y":"two.safetensors","a.x":"one.safetensors"}"#, path)
        #expect(checkpoint.format == .sharded)
        #expect(checkpoint.keys == ["a.y", "a.x", "c"])
        #expect(try checkpoint.tensor("a.x").floats == [1])
        #expect(checkpoint.metadata == ["total_size": "12"])
      }
      let part = try Checkpoint.open(folder, options: CheckpointOptions(weightsKey: "a"))
      #expect(part.keys == ["y", "x"])
      for escape in ["../one.safetensors", "/etc/passwd", "a/../../b", "", "./one.safetensors", "a//b"] {
        #expect(throws: CheckpointError.self) { try open(#"{"a.x":"\#(escape)"}"#) }
      }
      #expect(throws: CheckpointError.notFound(path: folder + "three")) { try open(#"{"a.x":"three"}"#) }
      #expect(throws: CheckpointError.self) { try open(#"{"b":"one.safetensors"}"#) }
      #expect(throws: CheckpointError.self) { try open(#"{"b":"model.safetensors.index.json"}"#) }
    }
  }
}
