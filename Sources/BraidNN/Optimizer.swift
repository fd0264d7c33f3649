import BraidTensor

/// AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019); with a decay of 0, Adam.
public struct AdamW: Sendable {
  public struct Configuration: Sendable, Codable, Hashable {
    public var beta1: Float
    public var beta2: Float
    public var epsilon: Float
    public var weightDecay: Float

    public init(beta1: Float = 0.9, beta2: Float = 0.99, epsilon: Float = 1e-8, weightDecay: Float = 0) {
      self.beta1 = beta1
      self.beta2 = beta2
      self.epsilon = epsilon
      self.weightDecay = weightDecay
    }
  }

  public let configuration: Configuration
  /// The steps taken so far.
  public internal(set) var step = 0
  /// First and second moments, in the order of the parameters.
  public internal(set) var first: [Tensor]
  public internal(set) var second: [Tensor]

  public init(_ configuration: Configuration, for parameters: [Parameter]) {
    self.configuration = configuration
    first = parameters.map { .zeros($0.shape) }
    second = parameters.map { .zeros($0.shape) }
  }

  /// Restores the state of an earlier run.
  public mutating func restore(step: Int, first: [Tensor], second: [Tensor]) {
    precondition(
      zip(self.first, first).allSatisfy { $0.shape == $1.shape } && self.first.count == first.count
        && second.count == first.count, "AdamW: the restored moments do not fit the parameters")
    self.step = step
    // Copies: the steps write in place, and what was loaded may be a mapped file.
    self.first = first.map { $0.duplicated() }
    self.second = second.map { $0.duplicated() }
  }

  /// Moves the parameters, in place, against their gradients times `gradientScale`. One-dimensional parameters
  /// (biases, norms) do not decay.
  public mutating func update(
    _ parameters: [Parameter], gradients: [Tensor], learningRate: Float, gradientScale: Float = 1
  ) {
    precondition(
      parameters.count == first.count, "AdamW: \(parameters.count) parameters for \(first.count) states")
    step += 1
    let c = configuration
    let correction1 = 1 - power(c.beta1, step)
    let correction2 = 1 - power(c.beta2, step)
    for (index, parameter) in parameters.enumerated() {
      optimizerStep(
        parameter.value, gradients[index], first[index], second[index], rate: learningRate, beta1: c.beta1,
        beta2: c.beta2, epsilon: c.epsilon, decay: parameter.shape.rank > 1 ? c.weightDecay : 0,
        correction1: correction1, correction2: correction2, gradientScale: gradientScale)
    }
  }

  private func power(_ base: Float, _ exponent: Int) -> Float {
    var result = 1.0
    for _ in 0..<exponent { result *= Double(base) }
    return Float(result)
  }
}

/// The root of the sum of squares of all gradients.
public func globalNorm(_ gradients: [Tensor]) -> Float {
  Float(gradients.reduce(0.0) { $0 + $1.sumOfSquares }.squareRoot())
}
