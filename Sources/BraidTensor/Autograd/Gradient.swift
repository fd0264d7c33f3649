/// Whether operations are recorded for gradients.
public enum Autograd {
  @TaskLocal public static var isRecording = true
}

/// Runs `body` without recording operations: nothing is kept for gradients.
public func withoutGradient<Result>(_ body: () throws -> Result) rethrows -> Result {
  try Autograd.$isRecording.withValue(false, operation: body)
}

extension Tensor {
  /// Whether gradients flow into this tensor.
  public var requiresGradient: Bool { gradientSource != nil }

  /// The same elements as a leaf of a new graph, whose gradient can be asked for.
  public func requiringGradient() -> Tensor {
    precondition(dtype.isFloatingPoint, "requiringGradient: \(dtype.rawValue) has no gradient")
    var leaf = self
    leaf.gradientSource = GradientSource(
      node: GradientNode(operation: "leaf", parents: [], outputShapes: [shape], backward: nil), output: 0)
    return leaf
  }

  /// The output of an operation, recorded with its gradient where one is wanted.
  ///
  /// `backward` receives the output's gradient and, for each input, whether its gradient is needed; it returns one
  /// gradient (of the input's shape) or nil per input. It must capture `detached` tensors only.
  static func record(
    _ operation: StaticString, _ output: Tensor, inputs: [Tensor],
    backward: @escaping (_ gradient: Tensor, _ needed: [Bool]) -> [Tensor?]
  ) -> Tensor {
    OperationClock.tick(operation)
    guard inputs.contains(where: { $0.gradientSource != nil }), Autograd.isRecording else {
      return output.detached
    }
    var recorded = output
    recorded.gradientSource = GradientSource(
      node: GradientNode(
        operation: operation, parents: inputs.map(\.gradientSource), outputShapes: [output.shape],
        backward: { gradients, needed in backward(gradients[0]!, needed) }), output: 0)
    return recorded
  }

  /// As `record`, for an operation with several outputs; the gradient of an unused output is nil.
  static func recordMany(
    _ operation: StaticString, _ outputs: [Tensor], inputs: [Tensor],
    backward: @escaping (_ gradients: [Tensor?], _ needed: [Bool]) -> [Tensor?]
  ) -> [Tensor] {
    OperationClock.tick(operation)
    guard inputs.contains(where: { $0.gradientSource != nil }), Autograd.isRecording else {
      return outputs.map(\.detached)
    }
    let node = GradientNode(
      operation: operation, parents: inputs.map(\.gradientSource), outputShapes: outputs.map(\.shape),
      backward: backward)
    return outputs.enumerated().map { index, output in
      var recorded = output
      recorded.gradientSource = GradientSource(node: node, output: index)
      return recorded
    }
  }

  /// The result of `forward(inputs)` with a gradient of one's own.
  ///
  /// - Parameters:
  ///   - inputs: the tensors that gradients may flow into.
  ///   - forward: computes the output; nothing inside it is recorded.
  ///   - backward: from (inputs, output, output's gradient) to one gradient, or nil, per input.
  public static func withCustomGradient(
    _ inputs: [Tensor], forward: ([Tensor]) -> Tensor,
    backward: @escaping (_ inputs: [Tensor], _ output: Tensor, _ gradient: Tensor) -> [Tensor?]
  ) -> Tensor {
    let plain = inputs.map(\.detached)
    let output = withoutGradient { forward(plain) }.detached
    return record("custom", output, inputs: inputs) { gradient, _ in backward(plain, output, gradient) }
  }

  /// The gradients of this scalar with respect to `leaves`, zeros where it does not depend on one.
  ///
  /// The graph is used up: the tensors that it kept are released as it is walked.
  public func gradients(for leaves: [Tensor]) -> [Tensor] {
    precondition(elementCount == 1, "gradients: \(shape) is not a scalar; reduce it first")
    return gradients(for: leaves, seed: Tensor.full(shape, 1))
  }

  /// As `gradients(for:)`, starting from a given gradient of this tensor (of its shape).
  public func gradients(for leaves: [Tensor], seed: Tensor) -> [Tensor] {
    precondition(seed.shape == shape, "gradients: a seed of \(seed.shape) for a tensor of \(shape)")
    guard let root = gradientSource else { return leaves.map { Tensor.zeros($0.shape) } }
    let wanted = leaves.map { leaf in leaf.gradientSource.map(Slot.init) }
    return withoutGradient {
      let found = backpropagate(from: root, seed: seed, keeping: Set(wanted.compactMap { $0 }))
      return zip(leaves, wanted).map { leaf, slot in
        slot.flatMap { found[$0] } ?? Tensor.zeros(leaf.shape)
      }
    }
  }
}

private struct Slot: Hashable {
  let node: ObjectIdentifier
  let output: Int
  init(_ source: GradientSource) {
    node = ObjectIdentifier(source.node)
    output = source.output
  }
  init(node: GradientNode, output: Int) {
    self.node = ObjectIdentifier(node)
    self.output = output
  }
}

/// Walks the graph from `root` to its leaves; returns the gradients of the slots in `kept`.
private func backpropagate(from root: GradientSource, seed: Tensor, keeping kept: Set<Slot>) -> [Slot: Tensor]
{
  // Every node is newer than its parents, so rising identifiers, taken from the end, are a topological order.
  var seen: Set<ObjectIdentifier> = [ObjectIdentifier(root.node)]
  var order = [root.node]
  var next = 0
  while next < order.count {
    for case let parent? in order[next].parents where seen.insert(ObjectIdentifier(parent.node)).inserted {
      order.append(parent.node)
    }
    next += 1
  }
  order.sort { $0.identifier < $1.identifier }

  var gradients: [Slot: Tensor] = [Slot(root): seed]
  while let node = order.popLast() {
    guard let backward = node.backward else { continue }
    let outputGradients = node.outputShapes.indices.map { output in
      let slot = Slot(node: node, output: output)
      return kept.contains(slot) ? gradients[slot] : gradients.removeValue(forKey: slot)
    }
    if outputGradients.contains(where: { $0 != nil }) {
      let inputGradients = backward(outputGradients, node.parents.map { $0 != nil })
      precondition(
        inputGradients.count == node.parents.count,
        "\(node.operation): \(inputGradients.count) gradients for \(node.parents.count) inputs")
      OperationClock.tickGradient(node.operation)
      for case (let parent?, let gradient?) in zip(node.parents, inputGradients) {
        let expected = parent.node.outputShapes[parent.output]
        precondition(
          gradient.shape == expected,
          "\(node.operation): a gradient of \(gradient.shape) for an input of \(expected)")
        let slot = Slot(parent)
        gradients[slot] = gradients[slot].map { $0 + gradient } ?? gradient.detached
      }
    }
    node.backward = nil
    node.parents = []
  }
  return gradients
}
