import Foundation

@testable import BraidTensor

/// What PyTorch computed: the tensors of Fixtures/torch_operations.safetensors (float32 only).
enum OperationFixture {
  private struct Entry: Decodable {
    let shape: [Int]
    let data_offsets: [Int]
  }

  private static let contents: (entries: [String: Entry], bytes: Data) = {
    let url = Bundle.module.url(
      forResource: "torch_operations", withExtension: "safetensors", subdirectory: "Fixtures")!
    let file = try! Data(contentsOf: url)
    let length = file.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
    let entries = try! JSONDecoder().decode([String: Entry].self, from: file[8..<8 + length])
    return (entries, file.dropFirst(8 + length))
  }()

  static subscript(_ name: String) -> Tensor {
    let entry = contents.entries[name]!
    let start = contents.bytes.startIndex
    let bytes = contents.bytes[start + entry.data_offsets[0]..<start + entry.data_offsets[1]]
    return Tensor.build(Shape(entry.shape)) { out in
      _ = bytes.withUnsafeBytes { memcpy(out, $0.baseAddress!, $0.count) }
    }
  }
}
