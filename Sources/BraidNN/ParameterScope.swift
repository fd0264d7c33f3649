import BraidTensor
import Synchronization

/// All parameters and derived tables of a model, in the order in which it declares them.
public final class ParameterStore: Sendable {
  /// A table that follows from the configuration: published files may hold it, and then it must agree.
  public struct Derived: Sendable {
    public let key: String
    public let value: @Sendable () -> Tensor
  }

  private struct Content {
    var parameters: [Parameter] = []
    var derived: [Derived] = []
    var keys: Set<String> = []
  }
  private let content = Mutex(Content())

  public init() {}

  public var parameters: [Parameter] { content.withLock { $0.parameters } }
  public var derived: [Derived] { content.withLock { $0.derived } }
  /// The number of learnt numbers.
  public var parameterCount: Int { parameters.reduce(0) { $0 + $1.shape.elementCount } }
  /// The outermost scope, with an empty path.
  public var root: ParameterScope { ParameterScope(store: self, path: "") }

  func declare(_ key: String, _ shape: Shape, _ initializer: Initializer, isFactor: Bool) -> Parameter {
    let parameter = Parameter(key: key, shape: shape, initializer: initializer, isFactor: isFactor)
    content.withLock { content in
      precondition(content.keys.insert(key).inserted, "the parameter \(key) is declared twice")
      content.parameters.append(parameter)
    }
    return parameter
  }

  func declareDerived(_ key: String, _ value: @escaping @Sendable () -> Tensor) {
    content.withLock { content in
      precondition(content.keys.insert(key).inserted, "the table \(key) is declared twice")
      content.derived.append(Derived(key: key, value: value))
    }
  }

  /// Gives every parameter its initial value; parameter i draws from its own stream, so that adding one does not
  /// change the others.
  public func initialize(seed: UInt64) {
    let generator = Philox(seed: seed)
    for parameter in parameters {
      var own = generator.split(fnv1a(parameter.key))
      parameter.assign(parameter.initializer.make(parameter.shape, &own))
    }
  }

  /// Makes every value a leaf of its own, for training.
  public func makeTrainable() { parameters.forEach { $0.makeTrainable() } }

  /// Makes every value constant, for inference.
  public func freeze() { parameters.forEach { $0.freeze() } }

  /// The present values by key.
  public var values: [(key: String, value: Tensor)] { parameters.map { ($0.key, $0.value.detached) } }

  private func fnv1a(_ text: String) -> UInt64 {
    text.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
  }
}

/// A place in a model's tree of parameters; its path is the prefix of the published keys.
///
///     let attention = scope("attn")
///     let weight = attention.parameter("qkv.weight", [3 * c, c], init: .fanIn(c))
public struct ParameterScope: Sendable {
  public let store: ParameterStore
  public let path: String

  /// The scope below this one.
  public func callAsFunction(_ name: String) -> ParameterScope {
    ParameterScope(store: store, path: path.isEmpty ? name : "\(path).\(name)")
  }

  public func callAsFunction(_ index: Int) -> ParameterScope { self(String(index)) }

  /// Declares a parameter under `path.name`.
  public func parameter(_ name: String, _ shape: Shape, init initializer: Initializer = .zeros) -> Parameter {
    store.declare(self(name).path, shape, initializer, isFactor: false)
  }

  /// Declares a matrix [N, K], or a stack [E, N, K], that the model uses through `Parameter.factor` alone: loading may
  /// hold it in few bits.
  public func factor(_ name: String, _ shape: Shape, init initializer: Initializer = .zeros) -> Parameter {
    store.declare(self(name).path, shape, initializer, isFactor: true)
  }

  /// Declares a table that follows from the configuration; a file may hold it or not.
  public func derived(_ name: String, _ value: @escaping @Sendable () -> Tensor) {
    store.declareDerived(self(name).path, value)
  }
}
