// Views and copies: the elements stay what they are, only their order and number change.

extension Tensor {
  /// The same elements, in row-major memory order; the tensor itself where it already is.
  public func contiguous() -> Tensor {
    if isContiguous { return self }
    let output = Tensor.uninitialized(shape, dtype: dtype)
    CPU.copyStrided(from: detached, to: output)
    return Tensor.record("contiguous", output, inputs: [self]) { gradient, _ in [gradient] }
  }

  /// A copy in memory of its own, outside the graph of recorded operations.
  public func duplicated() -> Tensor {
    let copy = Tensor.uninitialized(shape, dtype: dtype)
    CPU.copyStrided(from: detached, to: copy)
    return copy
  }

  /// Overwrites this view's elements, in place and for every view of the storage, with those of a tensor of its shape
  /// and type. Nothing is recorded.
  public func overwrite(with source: Tensor) { CPU.copyStrided(from: source.detached, to: detached) }

  /// The elements under another shape of as many elements; one size may be -1 and follows from the others. A view
  /// of a contiguous tensor, a copy of another.
  public func reshaped(_ newShape: Shape) -> Tensor {
    var target = newShape.dimensions
    if let unknown = target.firstIndex(of: -1) {
      let known = target.reduce(1) { $1 == -1 ? $0 : $0 * $1 }
      precondition(
        known > 0 && elementCount % known == 0, "reshaped: \(shape) does not fit \(newShape)")
      target[unknown] = elementCount / known
    }
    let shape = Shape(target)
    precondition(shape.elementCount == elementCount, "reshaped: \(self.shape) does not fit \(newShape)")
    if shape == self.shape { return self }
    let source = contiguous()
    let view = Tensor(storage: source.storage, shape: shape, offset: source.offset, dtype: dtype)
    let original = source.shape
    return Tensor.record("reshaped", view, inputs: [source]) { gradient, _ in [gradient.reshaped(original)] }
  }

  public func reshaped(_ dimensions: Int...) -> Tensor { reshaped(Shape(dimensions)) }

  /// The last axis as two, the second of `width`: [..., n width] to [..., n, width]. A view, whatever the strides.
  public func withLastAxisSplit(width: Int) -> Tensor {
    precondition(
      rank > 0 && width > 0 && shape[-1] % width == 0, "withLastAxisSplit: \(shape) into rows of \(width)")
    let stride = strides[rank - 1], original = shape
    let view = Tensor(
      storage: storage, shape: Shape(shape.dimensions.dropLast() + [shape[-1] / width, width]),
      strides: strides.dropLast() + [stride * width, stride], offset: offset, dtype: dtype)
    return Tensor.record("withLastAxisSplit", view, inputs: [self]) { gradient, _ in
      [gradient.reshaped(original)]
    }
  }

  /// The axes in another order: axis i of the result is axis `order[i]` of this tensor. A view.
  public func permuted(_ order: [Int]) -> Tensor {
    let axes = order.map { shape.axis($0, "permuted") }
    precondition(axes.sorted() == Array(0..<rank), "permuted: \(order) is no order of the axes of \(shape)")
    let view = Tensor(
      storage: storage, shape: Shape(axes.map { shape.dimensions[$0] }), strides: axes.map { strides[$0] },
      offset: offset, dtype: dtype)
    return Tensor.record("permuted", view, inputs: [self]) { gradient, _ in
      var inverse = [Int](repeating: 0, count: axes.count)
      for (position, axis) in axes.enumerated() { inverse[axis] = position }
      return [gradient.permuted(inverse)]
    }
  }

  public func permuted(_ order: Int...) -> Tensor { permuted(order) }

  /// Two axes exchanged. A view.
  public func transposed(_ first: Int = -2, _ second: Int = -1) -> Tensor {
    var order = Array(0..<rank)
    order.swapAt(shape.axis(first, "transposed"), shape.axis(second, "transposed"))
    return permuted(order)
  }

  /// The indices `range` of an axis, every `step`-th. A view.
  public func sliced(axis: Int, _ range: Range<Int>, step: Int = 1) -> Tensor {
    let axis = shape.axis(axis, "sliced")
    precondition(
      step > 0 && range.lowerBound >= 0 && range.upperBound <= shape[axis],
      "sliced: \(range) by \(step) is outside axis \(axis) of \(shape)")
    if range == 0..<shape[axis] && step == 1 { return self }
    var dimensions = shape.dimensions
    var newStrides = strides
    dimensions[axis] = (range.count + step - 1) / step
    newStrides[axis] *= step
    let view = Tensor(
      storage: storage, shape: Shape(dimensions), strides: newStrides,
      offset: offset + range.lowerBound * strides[axis], dtype: dtype)
    let full = shape
    return Tensor.record("sliced", view, inputs: [self]) { gradient, _ in
      let whole = Tensor.zeros(full)
      CPU.copyStrided(
        from: gradient, to: whole.sliced(axis: axis, range, step: step))
      return [whole]
    }
  }

  /// One index of an axis, which disappears. A view.
  public func selected(axis: Int, _ index: Int) -> Tensor {
    let axis = shape.axis(axis, "selected")
    return sliced(axis: axis, index..<index + 1).squeezed(axis)
  }

  /// Without an axis of size 1.
  public func squeezed(_ axis: Int) -> Tensor {
    let axis = shape.axis(axis, "squeezed")
    precondition(shape[axis] == 1, "squeezed: axis \(axis) of \(shape) is not of size 1")
    var dimensions = shape.dimensions
    var newStrides = strides
    dimensions.remove(at: axis)
    newStrides.remove(at: axis)
    let view = Tensor(
      storage: storage, shape: Shape(dimensions), strides: newStrides, offset: offset, dtype: dtype)
    return Tensor.record("squeezed", view, inputs: [self]) { gradient, _ in [gradient.unsqueezed(axis)] }
  }

  /// With an axis of size 1 before `axis` (of the result).
  public func unsqueezed(_ axis: Int) -> Tensor {
    let axis = axis < 0 ? axis + rank + 1 : axis
    precondition(axis >= 0 && axis <= rank, "unsqueezed: axis \(axis) is outside \(shape)")
    var dimensions = shape.dimensions
    var newStrides = strides
    newStrides.insert(axis < rank ? strides[axis] * dimensions[axis] : 1, at: axis)
    dimensions.insert(1, at: axis)
    let view = Tensor(
      storage: storage, shape: Shape(dimensions), strides: newStrides, offset: offset, dtype: dtype)
    return Tensor.record("unsqueezed", view, inputs: [self]) { gradient, _ in [gradient.squeezed(axis)] }
  }

  /// Repeated along axes of size 1 (and new leading axes) up to `target`. A view.
  public func broadcast(to target: Shape) -> Tensor {
    if shape == target { return self }
    precondition(
      Shape.broadcast(shape, target) == target, "broadcast: \(shape) does not broadcast to \(target)")
    let missing = target.rank - rank
    let newStrides = (0..<target.rank).map { axis -> Int in
      axis < missing || shape[axis - missing] != target[axis] ? 0 : strides[axis - missing]
    }
    let view = Tensor(storage: storage, shape: target, strides: newStrides, offset: offset, dtype: dtype)
    let original = shape
    return Tensor.record("broadcast", view, inputs: [self]) { gradient, _ in
      [gradient.summed(to: original)]
    }
  }

  /// Summed over the axes along which `target` was broadcast to this shape.
  public func summed(to target: Shape) -> Tensor {
    if shape == target { return self }
    let missing = rank - target.rank
    let axes = (0..<rank).filter { $0 < missing || (target[$0 - missing] == 1 && shape[$0] != 1) }
    return sum(axes: axes, keepingAxes: true).reshaped(target)
  }

  /// Tensors one after the other along an axis.
  public static func concatenated(_ tensors: [Tensor], axis: Int) -> Tensor {
    precondition(!tensors.isEmpty, "concatenated: no tensors")
    let first = tensors[0]
    let axis = first.shape.axis(axis, "concatenated")
    var dimensions = first.shape.dimensions
    dimensions[axis] = 0
    for tensor in tensors {
      var other = tensor.shape.dimensions
      precondition(
        other.count == dimensions.count && tensor.dtype == first.dtype,
        "concatenated: \(tensor.shape) does not go with \(first.shape)")
      other[axis] = dimensions[axis]
      precondition(other == dimensions, "concatenated: \(tensor.shape) does not go with \(first.shape)")
      dimensions[axis] += tensor.shape[axis]
    }
    let output = Tensor.uninitialized(Shape(dimensions), dtype: first.dtype)
    var start = 0
    var ranges: [Range<Int>] = []
    for tensor in tensors {
      ranges.append(start..<start + tensor.shape[axis])
      start += tensor.shape[axis]
      CPU.copyStrided(from: tensor.detached, to: output.sliced(axis: axis, ranges.last!))
    }
    return record("concatenated", output, inputs: tensors) { [ranges] gradient, _ in
      ranges.map { gradient.sliced(axis: axis, $0) }
    }
  }

  /// New tensors side by side along a new axis.
  public static func stacked(_ tensors: [Tensor], axis: Int = 0) -> Tensor {
    concatenated(tensors.map { $0.unsqueezed(axis) }, axis: axis)
  }

  /// Cut along an axis into pieces of the given sizes. Views.
  public func split(_ sizes: [Int], axis: Int) -> [Tensor] {
    let axis = shape.axis(axis, "split")
    precondition(
      sizes.reduce(0, +) == shape[axis], "split: \(sizes) do not fill axis \(axis) of \(shape)")
    var start = 0
    let ranges = sizes.map { size in
      defer { start += size }
      return start..<start + size
    }
    let (plain, full) = (detached, shape)
    // One operation, so that the pieces' gradients come together without a sum of arrays of zeros.
    return Tensor.recordMany("split", ranges.map { plain.sliced(axis: axis, $0) }, inputs: [self]) {
      gradients, _ in
      let whole = gradients.contains { $0 == nil } ? Tensor.zeros(full) : Tensor.uninitialized(full)
      for case (let gradient?, let range) in zip(gradients, ranges) {
        CPU.copyStrided(from: gradient, to: whole.sliced(axis: axis, range))
      }
      return [whole]
    }
  }

  /// Cut along an axis into equal pieces. Views.
  public func split(into count: Int, axis: Int) -> [Tensor] {
    let size = shape[shape.axis(axis, "split")]
    precondition(size % count == 0, "split: axis \(axis) of \(shape) does not divide into \(count)")
    return split([Int](repeating: size / count, count: count), axis: axis)
  }

  /// Shifted cyclically: the element at i goes to (i + shift) mod size, for each named axis.
  public func rolled(_ shifts: [Int], axes: [Int]) -> Tensor {
    precondition(shifts.count == axes.count, "rolled: \(shifts.count) shifts for \(axes.count) axes")
    var result = self
    for (shift, axis) in zip(shifts, axes) {
      let size = result.shape[axis]
      guard size > 0 else { continue }
      let cut = ((-shift % size) + size) % size
      if cut == 0 { continue }
      result = Tensor.concatenated(
        [result.sliced(axis: axis, cut..<size), result.sliced(axis: axis, 0..<cut)], axis: axis)
    }
    return result
  }

  /// The order along an axis reversed.
  public func flipped(axis: Int) -> Tensor {
    let axis = shape.axis(axis, "flipped")
    guard shape[axis] > 1 else { return self }
    var newStrides = strides
    newStrides[axis] = -strides[axis]
    let view = Tensor(
      storage: storage, shape: shape, strides: newStrides,
      offset: offset + (shape[axis] - 1) * strides[axis], dtype: dtype)
    let output = Tensor.uninitialized(shape, dtype: dtype)
    CPU.copyStrided(from: view, to: output)
    return Tensor.record("flipped", output, inputs: [self]) { gradient, _ in [gradient.flipped(axis: axis)] }
  }
}
