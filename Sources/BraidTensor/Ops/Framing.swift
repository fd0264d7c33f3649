extension Tensor {
  /// Overlapping frames of signals: [..., length] to [..., frames, size], frame t from sample t x hop on.
  ///
  /// frames = (length - size) / hop + 1; samples past the last whole frame are left out.
  public func framed(size: Int, hop: Int) -> Tensor {
    precondition(
      rank >= 1 && size > 0 && hop > 0 && shape[-1] >= size,
      "framed: frames of \(size) samples every \(hop) from \(shape)")
    let length = shape[-1]
    let frames = (length - size) / hop + 1
    let rows = elementCount / length
    let source = detached.cast(to: .float32).contiguous()
    let view = Tensor(
      storage: source.storage, shape: [rows, frames, size], strides: [length, hop, 1], offset: source.offset,
      dtype: .float32)
    let output = view.duplicated().reshaped(Shape(shape.dimensions.dropLast() + [frames, size]))
    return Tensor.record("framed", output, inputs: [self]) { gradient, _ in
      let added = CPU.overlapAdd(gradient, hop: hop)
      return [added.padded(axis: -1, after: length - added.shape[-1])]
    }
  }

  /// Signals from overlapping frames, which are added: [..., frames, size] to [..., (frames - 1) hop + size].
  public func overlapAdded(hop: Int) -> Tensor {
    precondition(
      rank >= 2 && shape[-2] > 0 && hop > 0 && hop <= shape[-1],
      "overlapAdded: frames \(shape) every \(hop) samples")
    let size = shape[-1]
    return Tensor.record("overlapAdded", CPU.overlapAdd(detached, hop: hop), inputs: [self]) { gradient, _ in
      [gradient.framed(size: size, hop: hop)]
    }
  }
}

extension CPU {
  fileprivate static func overlapAdd(_ frames: Tensor, hop: Int) -> Tensor {
    let (count, size) = (frames.shape[-2], frames.shape[-1])
    let length = (count - 1) * hop + size
    let shape = Shape(frames.shape.dimensions.dropLast(2) + [length])
    return frames.read { from in
      Tensor.build(shape) { to in
        parallelRanges(shape.elementCount / length, minimum: 1) { rows in
          for row in rows {
            let signal = to + row * length
            signal.update(repeating: 0, count: length)
            for t in 0..<count {
              let frame = from + (row * count + t) * size
              let target = signal + t * hop
              for i in 0..<size { target[i] += frame[i] }
            }
          }
        }
      }
    }
  }
}
