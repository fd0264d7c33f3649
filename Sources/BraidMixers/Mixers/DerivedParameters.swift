import BraidNN
import BraidTensor

extension Parameter {
  /// -exp(value), kept where the value is constant.
  var negatedExponential: Tensor { kept([self], "negated exponential") { -value.exp() } }
}

/// What `make` computes from the parameters, kept while all of them are constant.
func kept<Value: Sendable>(_ parameters: [Parameter], _ name: String, make: () -> Value) -> Value {
  let storages = parameters.map { $0.value.storage }
  guard storages.allSatisfy(\.isConstant) else { return make() }
  // The sources are held, so that no other storage can take the place of one and be mistaken for it.
  let key = storages.map { "\(ObjectIdentifier($0))" }.joined()
  let offsets = parameters.map { "\($0.value.offset)" }.joined(separator: ",")
  return storages[0].derived("mixers \(name) \(key)@\(offsets)") {
    Kept(value: make(), sources: Array(storages.dropFirst()))
  }.value
}

/// A value that a constant storage keeps, and the other storages that it was made from.
private final class Kept<Value: Sendable>: Sendable {
  let value: Value
  let sources: [Storage]
  init(value: Value, sources: [Storage]) {
    self.value = value
    self.sources = sources
  }
}
