/// What stands beyond the border of a padded axis.
public enum PaddingMode: Sendable, Hashable {
  /// One number everywhere.
  case constant(Float)
  /// The elements mirrored at the outermost one, which is not repeated: c b | a b c | b a. An axis of one element is
  /// repeated; amounts beyond the axis's size go back and forth.
  case reflect
  /// The outermost element: a a | a b c | c c.
  case replicate
  /// The elements of the other end: b c | a b c | a b.
  case circular

  /// The number 0 everywhere.
  public static var zeros: PaddingMode { .constant(0) }

  /// The index in 0..<size that stands at `index` of the padded axis; nil where it is the constant.
  @inline(__always)
  func source(_ index: Int, size: Int) -> Int? {
    if index >= 0 && index < size { return index }
    switch self {
    case .constant: return nil
    case .replicate: return index < 0 ? 0 : size - 1
    case .circular:
      let rest = index % size
      return rest < 0 ? rest + size : rest
    case .reflect:
      if size == 1 { return 0 }
      let period = 2 * (size - 1)
      let rest = ((index % period) + period) % period
      return rest < size ? rest : period - rest
    }
  }
}

/// How many elements one axis grows by.
public struct AxisPadding: Sendable, Hashable {
  public var axis: Int
  public var before: Int
  public var after: Int

  public init(axis: Int, before: Int, after: Int) {
    self.axis = axis
    self.before = before
    self.after = after
  }
}

extension Tensor {
  /// The tensor with elements added before and after the named axes (each named once; amounts at least 0).
  ///
  /// Modes act on each axis in turn, so corners are padded twice, as in torch.nn.functional.pad and numpy.pad.
  public func padded(_ padding: [AxisPadding], mode: PaddingMode = .zeros) -> Tensor {
    var before = [Int](repeating: 0, count: rank)
    var target = shape.dimensions
    var axes: [Int] = []
    for amount in padding {
      let axis = shape.axis(amount.axis, "padded")
      precondition(
        amount.before >= 0 && amount.after >= 0 && !axes.contains(axis),
        "padded: \(amount) is negative or names an axis twice")
      if amount.before == 0 && amount.after == 0 { continue }
      if case .constant = mode {
      } else {
        precondition(shape[axis] > 0, "padded: axis \(axis) of \(shape) has nothing to repeat")
      }
      axes.append(axis)
      before[axis] = amount.before
      target[axis] += amount.before + amount.after
    }
    if axes.isEmpty { return self }
    axes.sort()
    let source = detached.contiguous()
    let output = Tensor.uninitialized(Shape(target), dtype: dtype)
    CPU.pad(source, into: output, axes: axes, before: before, mode: mode)
    let original = shape
    return Tensor.record("padded", output, inputs: [self]) { gradient, _ in
      if case .constant = mode {
        return [axes.reduce(gradient) { $0.sliced(axis: $1, before[$1]..<before[$1] + original[$1]) }]
      }
      return [
        axes.reversed().reduce(gradient) {
          CPU.foldPadding($0, axis: $1, before: before[$1], size: original[$1], mode: mode)
        }
      ]
    }
  }

  /// The tensor with `before` and `after` elements added to one axis.
  public func padded(axis: Int, before: Int = 0, after: Int = 0, mode: PaddingMode = .zeros) -> Tensor {
    padded([AxisPadding(axis: axis, before: before, after: after)], mode: mode)
  }

  /// A map [..., H, W, C] with rows and columns added: [..., top + H + bottom, left + W + right, C].
  public func paddedImage(
    top: Int = 0, bottom: Int = 0, left: Int = 0, right: Int = 0, mode: PaddingMode = .zeros
  ) -> Tensor {
    padded(
      [
        AxisPadding(axis: -3, before: top, after: bottom), AxisPadding(axis: -2, before: left, after: right),
      ], mode: mode)
  }
}
