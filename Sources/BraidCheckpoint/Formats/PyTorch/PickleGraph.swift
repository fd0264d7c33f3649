/// What a pickle describes, as nodes that refer to each other by number.
///
/// Numbers instead of references: a pickle may nest a million tuples or close a cycle, and neither building nor
/// freeing that may recurse or leak.
struct PickleGraph {
  typealias Reference = Int32

  enum Node {
    case none
    case bool(Bool)
    case integer(Int)
    case number(Double)
    case string(String)
    /// Elements `start..<start + count` of `tupleElements`.
    case tuple(start: Int32, count: Int32)
    /// Index into `lists`.
    case list(Int32)
    /// Index into `dictionaries`.
    case dictionary(Int32)
    case name(PickleName)
    /// What a call of an allowed function would return: kept as a description, never called.
    case call(PickleName, arguments: Reference)
    /// A storage, described by the tuple referred to.
    case storage(Reference)
    /// A harmless value that no tensor is made of (a set, bytes, a large integer).
    case opaque
  }

  var nodes: [Node] = []
  var tupleElements: [Reference] = []
  var lists: [[Reference]] = []
  var dictionaries: [[(key: Reference, value: Reference)]] = []
  var root: Reference = 0

  subscript(reference: Reference) -> Node { nodes[Int(reference)] }

  /// The elements of a tuple or list, or nil.
  func elements(_ reference: Reference) -> ArraySlice<Reference>? {
    switch self[reference] {
    case .tuple(let start, let count): tupleElements[Int(start)..<Int(start) + Int(count)]
    case .list(let index): lists[Int(index)][...]
    default: nil
    }
  }

  /// The members of a dictionary, or nil.
  func members(_ reference: Reference) -> [(key: Reference, value: Reference)]? {
    if case .dictionary(let index) = self[reference] { dictionaries[Int(index)] } else { nil }
  }

  func integer(_ reference: Reference) -> Int? {
    if case .integer(let value) = self[reference] { value } else { nil }
  }

  func string(_ reference: Reference) -> String? {
    if case .string(let text) = self[reference] { text } else { nil }
  }
}

/// The Python names that a pickle of tensors may use; every other name is an error.
enum PickleName {
  case orderedDictionary
  case counter
  case rebuildTensor
  case rebuildTensorV3
  case rebuildParameter
  case size
  case storage(StoredType)
  case untypedStorage
  case elementType(StoredType)
  /// Harmless constructors whose results no tensor is made of.
  case value

  /// The entry of the list, or nil for a name that is not on it.
  init?(module: String, name: String) {
    guard let entry = Self.allowed["\(module).\(name)"] else { return nil }
    self = entry
  }

  private static let allowed: [String: PickleName] = {
    var names: [String: PickleName] = [
      "collections.OrderedDict": .orderedDictionary,
      "collections.Counter": .counter,
      "torch._utils._rebuild_tensor": .rebuildTensor,
      "torch._utils._rebuild_tensor_v2": .rebuildTensor,
      "torch._utils._rebuild_tensor_v3": .rebuildTensorV3,
      "torch._utils._rebuild_parameter": .rebuildParameter,
      "torch._utils._rebuild_parameter_with_state": .rebuildParameter,
      "torch.Size": .size,
      "torch.UntypedStorage": .untypedStorage,
      "torch.storage.UntypedStorage": .untypedStorage,
      "torch.device": .value,
      "_codecs.encode": .value,
      "__builtin__.set": .value,
      "__builtin__.frozenset": .value,
      "builtins.set": .value,
      "builtins.frozenset": .value,
      "numpy.dtype": .value,
      "numpy.core.multiarray.scalar": .value,
      "numpy._core.multiarray.scalar": .value,
    ]
    let storages: [(String, StoredType)] = [
      ("Float", .float32), ("Half", .float16), ("BFloat16", .bfloat16), ("Double", .float64),
      ("Long", .int64), ("Int", .int32), ("Short", .int16), ("Char", .int8), ("Byte", .uint8),
      ("Bool", .bool),
    ]
    for (name, type) in storages { names["torch.\(name)Storage"] = .storage(type) }
    let types: [(String, StoredType)] = [
      ("float32", .float32), ("float", .float32), ("float16", .float16), ("half", .float16),
      ("bfloat16", .bfloat16), ("float64", .float64), ("double", .float64), ("int64", .int64),
      ("long", .int64), ("int32", .int32), ("int", .int32), ("int16", .int16), ("short", .int16),
      ("int8", .int8), ("uint8", .uint8), ("bool", .bool),
    ]
    for (name, type) in types { names["torch.\(name)"] = .elementType(type) }
    return names
  }()
}
