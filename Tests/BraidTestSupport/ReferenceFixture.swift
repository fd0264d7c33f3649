import BraidCheckpoint
import BraidNN
import BraidTensor
import Foundation

/// Inputs and outputs of a reference implementation, with weights that a formula gives:
/// w[i] = offset + scale u(salt, name, i), u in [-1, 1).
public struct ReferenceFixture {
  struct Specification: Decodable {
    struct Parameter: Decodable {
      var name: String
      var shape: [Int]
      var offset: Double
      var scale: Double
    }
    var salt: String
    var parameters: [Parameter]
  }

  let specification: Specification
  public let data: Checkpoint

  /// The fixture in `folder`, which holds spec.json and io.safetensors.
  public init(_ folder: URL) throws {
    let bytes = try Data(contentsOf: folder.appendingPathComponent("spec.json"))
    specification = try JSONDecoder().decode(Specification.self, from: bytes)
    data = try Checkpoint.open(folder.appendingPathComponent("io.safetensors").path)
  }

  public var keys: [String] { specification.parameters.map(\.name) }

  /// All weights by published name.
  public func weights() -> [(key: String, value: Tensor)] {
    specification.parameters.map { parameter in
      let seed = (specification.salt + "/" + parameter.name).utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) {
        ($0 ^ UInt64($1)) &* 0x100_0000_01b3
      }
      let count = parameter.shape.reduce(1, *)
      let tensor = Tensor.build(Shape(parameter.shape)) { out in
        parallelRanges(count, minimum: 1 << 16) { range in
          for i in range {
            var z = seed &+ UInt64(i + 1) &* 0x9E37_79B9_7F4A_7C15
            z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
            z = z ^ (z >> 31)
            let unit = Double(z >> 40) * 0x1p-23 - 1
            out[i] = Float(parameter.offset + parameter.scale * unit)
          }
        }
      }
      return (parameter.name, tensor)
    }
  }

  /// The weights as a safetensors file at `path`.
  public func writeWeights(to path: String) throws { try SafetensorsWriter.write(weights(), to: path) }
}
