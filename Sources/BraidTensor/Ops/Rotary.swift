import Foundation

/// Which pairs of channels a rotary embedding turns.
public enum RotaryForm: String, Codable, Sendable, Hashable, CaseIterable {
  /// Channel i with channel i + half, for i < half (GPT-NeoX, Llama in Hugging Face: "rotate_half").
  case halves
  /// Channel 2 i with channel 2 i + 1 (RoFormer, GPT-J).
  case interleaved
}

/// Cosines and sines of a rotary embedding: [positions, dimensions / 2] each (Su et al., "RoFormer", 2021).
public struct RotaryTable: Sendable {
  public let cosine: Tensor
  public let sine: Tensor

  /// Given tables [positions, pairs].
  public init(cosine: Tensor, sine: Tensor) {
    precondition(
      cosine.rank == 2 && cosine.shape == sine.shape, "RotaryTable: \(cosine.shape) and \(sine.shape)")
    self.cosine = cosine
    self.sine = sine
  }

  /// The angle position base^(-2 i / dimensions) for pair i.
  public init(positions: Int, dimensions: Int, base: Double = 10_000) {
    precondition(dimensions > 0 && dimensions % 2 == 0, "RotaryTable: \(dimensions) dimensions make no pairs")
    let pairs = dimensions / 2
    func table(_ function: (Double) -> Double) -> Tensor {
      Tensor.build([positions, pairs]) { out in
        for pair in 0..<pairs {
          let frequency = pow(base, -2 * Double(pair) / Double(dimensions))
          for position in 0..<positions {
            out[position * pairs + pair] = Float(function(Double(position) * frequency))
          }
        }
      }
    }
    self.init(cosine: table { cos($0) }, sine: table { sin($0) })
  }
}

extension Tensor {
  /// Queries or keys [batch, length, heads, channels] with their channels turned by the angles of their positions:
  /// (a, b) becomes (a cos - b sin, b cos + a sin).
  ///
  /// The first 2 x pairs channels are turned, where the table has `pairs` columns; the rest stays. Step t of the
  /// sequence has position `offset` + t. The table gets no gradient.
  public func rotated(_ table: RotaryTable, form: RotaryForm = .halves, offset: Int = 0) -> Tensor {
    let pairs = table.cosine.shape[1]
    precondition(
      rank == 4 && 2 * pairs <= shape[3] && offset >= 0 && offset + shape[1] <= table.cosine.shape[0],
      "rotated: \(shape) from position \(offset) by tables of \(table.cosine.shape)")
    let output = CPU.rotate(
      detached.cast(to: .float32), table, form: form, offset: offset, inverse: false)
    return Tensor.record("rotated", output.cast(to: dtype), inputs: [self]) { gradient, _ in
      [CPU.rotate(gradient, table, form: form, offset: offset, inverse: true)]
    }
  }
}

extension CPU {
  fileprivate static func rotate(
    _ x: Tensor, _ table: RotaryTable, form: RotaryForm, offset: Int, inverse: Bool
  ) -> Tensor {
    let (length, heads, channels) = (x.shape[1], x.shape[2], x.shape[3])
    let pairs = table.cosine.shape[1]
    let shape = x.shape
    let sign: Float = inverse ? -1 : 1
    return x.read { x in
      table.cosine.read { cosines in
        table.sine.read { sines in
          Tensor.build(shape) { y in
            let work = Swift.max(1, heads * channels)
            parallelRanges(shape[0] * length, minimum: Swift.max(1, 16_384 / work)) { range in
              for token in range {
                let row = (offset + token % length) * pairs
                let (cosine, sine) = (cosines + row, sines + row)
                for head in token * heads..<(token + 1) * heads {
                  let (from, to) = (x + head * channels, y + head * channels)
                  switch form {
                  case .halves:
                    for i in 0..<pairs {
                      let (a, b, c, s) = (from[i], from[pairs + i], cosine[i], sign * sine[i])
                      to[i] = a * c - b * s
                      to[pairs + i] = b * c + a * s
                    }
                  case .interleaved:
                    for i in 0..<pairs {
                      let (a, b, c, s) = (from[2 * i], from[2 * i + 1], cosine[i], sign * sine[i])
                      to[2 * i] = a * c - b * s
                      to[2 * i + 1] = b * c + a * s
                    }
                  }
                  (to + 2 * pairs).update(from: from + 2 * pairs, count: channels - 2 * pairs)
                }
              }
            }
          }
        }
      }
    }
  }
}
