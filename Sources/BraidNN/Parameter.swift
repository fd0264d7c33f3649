import BraidTensor

/// A tensor that a model learns or loads, under the key of the published checkpoint.
///
/// It has no value until its store is loaded or initialised.
public final class Parameter: @unchecked Sendable {
  /// The full key, as in the checkpoint.
  public let key: String
  public let shape: Shape
  public let initializer: Initializer
  /// Whether the model uses the value through `factor` alone, as the matrix of linear products or of lookups (or a
  /// stack of them), so that it may be held in another format.
  public let isFactor: Bool
  private var stored: Factor?

  init(key: String, shape: Shape, initializer: Initializer, isFactor: Bool) {
    self.key = key
    self.shape = shape
    self.initializer = initializer
    self.isFactor = isFactor
  }

  public var hasValue: Bool { stored != nil }

  /// The present value; stops where the parameter was neither loaded nor initialised. Of a matrix that is held in
  /// few bits, its numbers, computed anew at each call.
  public var value: Tensor {
    switch factor {
    case .tensor(let tensor): tensor
    case .matrix(let matrix): matrix.dequantised().reshaped(shape)
    }
  }

  /// The present value as it is held, for products.
  public var factor: Factor {
    guard let stored else {
      preconditionFailure("parameter \(key) has no value; load or initialise the model first")
    }
    return stored
  }

  /// One matrix [N, K] of a stack [E, N, K], for products.
  public func factor(at index: Int) -> Factor {
    precondition(
      shape.rank == 3 && index >= 0 && index < shape[0], "parameter \(key): matrix \(index) of \(shape)")
    switch factor {
    case .tensor(let tensor): return .tensor(tensor.selected(axis: 0, index))
    case .matrix(let matrix): return .matrix(matrix.rows(index * shape[1]..<(index + 1) * shape[1]))
    }
  }

  /// Gives the parameter a value of its shape, as float32.
  public func assign(_ tensor: Tensor) {
    precondition(tensor.shape == shape, "parameter \(key): a value of \(tensor.shape) for \(shape)")
    stored = .tensor(tensor)
  }

  /// Gives the parameter a constant value held in a format of its own, with its last axis as columns.
  public func assign(_ matrix: QuantizedMatrix) {
    precondition(
      isFactor && shape.rank >= 2 && matrix.columns == shape[-1]
        && matrix.rows * matrix.columns == shape.elementCount,
      "parameter \(key): a matrix [\(matrix.rows), \(matrix.columns)] for \(shape)")
    stored = .matrix(matrix)
  }

  /// Makes the value a leaf whose gradient can be asked for, in memory of its own.
  func makeTrainable() {
    stored = .tensor(value.duplicated().requiringGradient())
  }

  /// Ends training of the value and lets kernels keep what they derive from it (packed weights).
  func freeze() {
    guard case .tensor(let value) = factor else { return }
    let plain = value.detached.contiguous()
    plain.storage.isConstant = true
    stored = .tensor(plain)
  }
}
