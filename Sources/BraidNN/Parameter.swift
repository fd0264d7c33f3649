import BraidTensor

/// A tensor that a model learns or loads, under the key of the published checkpoint.
///
/// It has no value until its store is loaded or initialised.
public final class Parameter: @unchecked Sendable {
  /// The full key, as in the checkpoint.
  public let key: String
  public let shape: Shape
  public let initializer: Initializer
  private var stored: Tensor?

  init(key: String, shape: Shape, initializer: Initializer) {
    self.key = key
    self.shape = shape
    self.initializer = initializer
  }

  public var hasValue: Bool { stored != nil }

  /// The present value; stops where the parameter was neither loaded nor initialised.
  public var value: Tensor {
    guard let stored else {
      preconditionFailure("parameter \(key) has no value; load or initialise the model first")
    }
    return stored
  }

  /// Gives the parameter a value of its shape, as float32.
  public func assign(_ tensor: Tensor) {
    precondition(tensor.shape == shape, "parameter \(key): a value of \(tensor.shape) for \(shape)")
    stored = tensor
  }

  /// Makes the value a leaf whose gradient can be asked for, in memory of its own.
  func makeTrainable() {
    stored = value.duplicated().requiringGradient()
  }

  /// Ends training of the value and lets kernels keep what they derive from it (packed weights).
  func freeze() {
    let plain = value.detached.contiguous()
    plain.storage.isConstant = true
    stored = plain
  }
}
