import Synchronization

/// One recorded operation: how the gradients of its outputs become those of its inputs.
final class GradientNode: @unchecked Sendable {
  typealias Backward = (_ outputGradients: [Tensor?], _ needed: [Bool]) -> [Tensor?]

  let identifier: Int
  let operation: StaticString
  var parents: [GradientSource?]
  /// Nil for a leaf, and after the node has been used.
  var backward: Backward?
  let outputShapes: [Shape]

  private static let counter = Atomic<Int>(0)

  init(operation: StaticString, parents: [GradientSource?], outputShapes: [Shape], backward: Backward?) {
    identifier = GradientNode.counter.add(1, ordering: .relaxed).newValue
    self.operation = operation
    self.parents = parents
    self.outputShapes = outputShapes
    self.backward = backward
  }

  /// Releases long chains one node at a time; the default would recurse once per operation.
  deinit {
    backward = nil
    var pending = parents.compactMap { $0?.node }
    parents = []
    while var node = pending.popLast() {
      guard isKnownUniquelyReferenced(&node) else { continue }
      node.backward = nil
      pending.append(contentsOf: node.parents.compactMap { $0?.node })
      node.parents = []
    }
  }
}

/// One output of a recorded operation.
struct GradientSource {
  let node: GradientNode
  let output: Int
}
