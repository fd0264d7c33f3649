/// Reads one pickle (protocols 0 to 5) into a graph. Nothing in it is executed: names outside the list of
/// `PickleName` are errors, and a call of a listed name is only written down.
///
/// Memory stays within a small multiple of the pickle's length, since each opcode makes at most one node.
struct PickleMachine {
  private let region: ByteRegion
  private let path: String
  private let end: Int
  private(set) var position: Int
  private var opcodePosition: Int
  private var graph = PickleGraph()
  private var stack: [PickleGraph.Reference] = []
  private var marks: [Int] = []
  private var memo: [Int: PickleGraph.Reference] = [:]
  private var emptyTuple: PickleGraph.Reference?
  /// How many more members may be copied from one container into another: an honest pickle writes each once.
  private var copies: Int

  /// More nodes than the state dictionary of any published model needs, and few against a large file.
  private let maximumNodes: Int
  /// Values that stand in a pickle again and again share one node.
  private var shared: [Shared: PickleGraph.Reference] = [:]

  private enum Shared: Hashable {
    case none, bool(Bool), integer(Int), opaque
  }

  init(_ region: ByteRegion, range: Range<Int>, path: String) {
    self.region = region
    self.path = path
    position = range.lowerBound
    opcodePosition = position
    end = range.upperBound
    copies = range.count
    maximumNodes = min(1 << 22 + region.count / 4, 1 << 24)
  }

  /// The graph that the pickle describes; `position` is then behind its end.
  mutating func run() throws -> PickleGraph {
    while true {
      opcodePosition = position
      let opcode = try byte()
      if opcode == UInt8(ascii: ".") {
        graph.root = try pop()
        return graph
      }
      try step(opcode)
    }
  }

  // MARK: Reading

  private func failure(_ reason: String) -> CheckpointError {
    .malformed(path: path, offset: opcodePosition, reason: "pickle: \(reason)")
  }

  private mutating func byte() throws -> UInt8 {
    guard position < end else { throw failure("ends too early") }
    defer { position += 1 }
    return region.bytes[position]
  }

  private mutating func number<T: FixedWidthInteger>(_ type: T.Type) throws -> Int {
    let start = position
    try skip(MemoryLayout<T>.size)
    guard let value = region.integer(type, at: start), let result = Int(exactly: value) else {
      throw failure("an impossible length")
    }
    return result
  }

  private mutating func skip(_ count: Int) throws {
    guard count >= 0, count <= end - position else { throw failure("ends too early") }
    position += count
  }

  private mutating func text(_ count: Int) throws -> String {
    let start = position
    try skip(count)
    guard let text = String(validating: region.slice(start..<position), as: UTF8.self) else {
      throw failure("a string that is not UTF-8")
    }
    return text
  }

  /// The text up to the next line end, which is consumed.
  private mutating func line() throws -> String {
    guard let length = region.slice(position..<end).firstIndex(of: 0x0A) else {
      throw failure("a line without an end")
    }
    let line = try text(length)
    position += 1
    return line
  }

  // MARK: Stack

  private mutating func push(_ node: PickleGraph.Node) throws {
    guard graph.nodes.count < maximumNodes else {
      throw CheckpointError.limitExceeded(
        path: path, reason: "a pickle of more than \(maximumNodes) values")
    }
    stack.append(PickleGraph.Reference(graph.nodes.count))
    graph.nodes.append(node)
  }

  private mutating func push(_ value: Shared) throws {
    if let reference = shared[value] {
      stack.append(reference)
      return
    }
    switch value {
    case .none: try push(PickleGraph.Node.none)
    case .bool(let flag): try push(PickleGraph.Node.bool(flag))
    case .integer(let number): try push(PickleGraph.Node.integer(number))
    case .opaque: try push(PickleGraph.Node.opaque)
    }
    shared[value] = stack.last
  }

  private mutating func pop() throws -> PickleGraph.Reference {
    guard stack.count > (marks.last ?? 0), let top = stack.popLast() else { throw failure("an empty stack") }
    return top
  }

  private func top() throws -> PickleGraph.Reference {
    guard stack.count > (marks.last ?? 0), let top = stack.last else { throw failure("an empty stack") }
    return top
  }

  /// The values above the last mark; they and the mark are removed.
  private mutating func popToMark() throws -> [PickleGraph.Reference] {
    guard let mark = marks.popLast() else { throw failure("no mark") }
    let values = Array(stack[mark...])
    stack.removeSubrange(mark...)
    return values
  }

  private mutating func pushTuple(_ values: some Collection<PickleGraph.Reference>) throws {
    if values.isEmpty, let emptyTuple {
      stack.append(emptyTuple)
      return
    }
    let start = graph.tupleElements.count
    graph.tupleElements.append(contentsOf: values)
    guard graph.tupleElements.count <= 4 * maximumNodes else {
      throw CheckpointError.limitExceeded(path: path, reason: "a pickle of too many tuple elements")
    }
    try push(.tuple(start: Int32(start), count: Int32(values.count)))
    if values.isEmpty { emptyTuple = stack.last }
  }

  private mutating func pushList(_ values: [PickleGraph.Reference]) throws {
    graph.lists.append(values)
    try push(.list(Int32(graph.lists.count - 1)))
  }

  private mutating func pushDictionary(
    _ members: [(key: PickleGraph.Reference, value: PickleGraph.Reference)]
  )
    throws
  {
    graph.dictionaries.append(members)
    try push(.dictionary(Int32(graph.dictionaries.count - 1)))
  }

  private mutating func pushName(module: String, name: String) throws {
    guard let entry = PickleName(module: module, name: name) else {
      throw CheckpointError.forbidden(
        path: path, name: "\(module).\(name)".truncated(to: 200), offset: opcodePosition)
    }
    try push(.name(entry))
  }

  private mutating func push(memo index: Int) throws {
    guard let reference = memo[index] else { throw failure("memo \(index) is empty") }
    stack.append(reference)
  }

  // MARK: Opcodes

  private mutating func step(_ opcode: UInt8) throws {
    switch Unicode.Scalar(opcode) {
    case "\u{80}":
      let version = try byte()
      guard version <= 5 else { throw failure("protocol \(version)") }
    case "\u{95}":
      let length = try number(UInt64.self)
      guard length <= end - position else { throw failure("a frame past the end") }
    case "(": marks.append(stack.count)
    case "0":
      // As in Python: with nothing above the mark, the mark itself goes.
      if let mark = marks.last, stack.count == mark { marks.removeLast() } else { _ = try pop() }
    case "1": _ = try popToMark()
    case "2": stack.append(try top())
    case "N": try push(Shared.none)
    case "\u{88}": try push(Shared.bool(true))
    case "\u{89}": try push(Shared.bool(false))
    case "I", "J", "K", "L", "M", "\u{8A}", "\u{8B}", "F", "G": try pushNumber(opcode)
    case "S", "T", "U", "V", "X", "\u{8C}", "\u{8D}": try pushText(opcode)
    case "B", "C", "\u{8E}", "\u{96}":
      switch Unicode.Scalar(opcode) {
      case "B": try skip(number(UInt32.self))
      case "C": try skip(number(UInt8.self))
      default: try skip(number(UInt64.self))
      }
      try push(Shared.opaque)
    case "]", "l", "a", "e", "}", "d", "s", "u", ")", "t", "\u{85}", "\u{86}", "\u{87}":
      try container(opcode)
    case "\u{8F}": try push(Shared.opaque)
    case "\u{90}":
      _ = try popToMark()
      guard case .opaque = graph[try top()] else { throw failure("elements for something that is no set") }
    case "\u{91}":
      _ = try popToMark()
      try push(Shared.opaque)
    case "g":
      guard let index = Int(try line()) else { throw failure("a memo without a number") }
      try push(memo: index)
    case "h": try push(memo: number(UInt8.self))
    case "j": try push(memo: number(UInt32.self))
    case "p":
      guard let index = Int(try line()), index >= 0 else { throw failure("a memo without a number") }
      memo[index] = try top()
    case "q": memo[try number(UInt8.self)] = try top()
    case "r": memo[try number(UInt32.self)] = try top()
    case "\u{94}": memo[memo.count] = try top()
    case "c":
      let module = try line()
      try pushName(module: module, name: line())
    case "\u{93}":
      let name = graph.string(try pop())
      guard let name, let module = graph.string(try pop()) else { throw failure("a name that is no string") }
      try pushName(module: module, name: name)
    case "i":
      let module = try line()
      throw CheckpointError.forbidden(
        path: path, name: "\(module).\(try line())".truncated(to: 200), offset: opcodePosition)
    case "R", "\u{81}": try call()
    case "b": try build()
    case "Q": try push(.storage(pop()))
    default:
      let code = "0x" + String(opcode, radix: 16)
      throw failure("the opcode \(code) is unknown or not needed by tensors")
    }
  }

  private mutating func pushNumber(_ opcode: UInt8) throws {
    switch Unicode.Scalar(opcode) {
    case "J": try push(PickleGraph.Node.integer(number(Int32.self)))
    case "K": try push(Shared.integer(number(UInt8.self)))
    case "M": try push(PickleGraph.Node.integer(number(UInt16.self)))
    case "\u{8A}", "\u{8B}":
      let count = opcode == 0x8A ? try number(UInt8.self) : try number(Int32.self)
      let start = position
      try skip(count)
      guard count <= 8 else { return try push(Shared.opaque) }
      var value: UInt64 = 0
      for (index, byte) in region.slice(start..<position).enumerated() {
        value |= UInt64(byte) << UInt64(8 * index)
      }
      let unused = UInt64(64 - 8 * count)
      try push(
        PickleGraph.Node.integer(count == 0 ? 0 : Int(Int64(bitPattern: value << unused) >> Int64(unused))))
    case "I":
      let written = try line()
      if written == "00" || written == "01" { return try push(Shared.bool(written == "01")) }
      guard let value = Int(written) else { throw failure("not an integer") }
      try push(PickleGraph.Node.integer(value))
    case "L":
      var written = try line()
      if written.hasSuffix("L") { written.removeLast() }
      try push(Int(written).map { PickleGraph.Node.integer($0) } ?? .opaque)
    case "F":
      guard let value = Double(try line()) else { throw failure("not a number") }
      try push(.number(value))
    default:
      let start = position
      try skip(8)
      try push(.number(Double(bitPattern: region.integer(UInt64.self, at: start)!.byteSwapped)))
    }
  }

  private mutating func pushText(_ opcode: UInt8) throws {
    switch Unicode.Scalar(opcode) {
    case "X": try push(.string(text(number(UInt32.self))))
    case "\u{8C}": try push(.string(text(number(UInt8.self))))
    case "\u{8D}": try push(.string(text(number(UInt64.self))))
    case "T", "U":
      // Python 2 wrote bytes and text alike.
      let count = opcode == UInt8(ascii: "T") ? try number(Int32.self) : try number(UInt8.self)
      let start = position
      try skip(count)
      let text = String(validating: region.slice(start..<position), as: UTF8.self)
      try push(text.map { PickleGraph.Node.string($0) } ?? .opaque)
    case "V":
      let written = try line()
      guard !written.contains("\\") else { throw failure("an escaped string") }
      try push(.string(written))
    default:
      let written = try line()
      guard written.utf8.count >= 2, let quote = written.first, quote == "'" || quote == "\"",
        written.last == quote, !written.contains("\\")
      else { throw failure("an escaped or unquoted string") }
      try push(.string(String(written.dropFirst().dropLast())))
    }
  }

  private mutating func container(_ opcode: UInt8) throws {
    switch Unicode.Scalar(opcode) {
    case "]": try pushList([])
    case "l": try pushList(popToMark())
    case "a":
      let value = try pop()
      try append([value])
    case "e": try append(popToMark())
    case "}": try pushDictionary([])
    case "d": try pushDictionary(pairs(popToMark()))
    case "s":
      let value = try pop()
      let key = try pop()
      try set([(key, value)])
    case "u": try set(pairs(popToMark()))
    case ")": try pushTuple([])
    case "t": try pushTuple(popToMark())
    default:
      var values: [PickleGraph.Reference] = []
      for _ in 0..<Int(opcode - 0x84) { values.append(try pop()) }
      try pushTuple(values.reversed())
    }
  }

  private func pairs(_ values: [PickleGraph.Reference]) throws -> [(
    key: PickleGraph.Reference, value: PickleGraph.Reference
  )] {
    guard values.count.isMultiple(of: 2) else { throw failure("a key without a value") }
    return stride(from: 0, to: values.count, by: 2).map { (values[$0], values[$0 + 1]) }
  }

  private mutating func append(_ values: [PickleGraph.Reference]) throws {
    guard case .list(let index) = graph[try top()] else {
      throw failure("elements for something that is no list")
    }
    graph.lists[Int(index)].append(contentsOf: values)
  }

  private mutating func set(_ members: [(key: PickleGraph.Reference, value: PickleGraph.Reference)]) throws {
    guard case .dictionary(let index) = graph[try top()] else {
      throw failure("members for something that is no dictionary")
    }
    graph.dictionaries[Int(index)].append(contentsOf: members)
  }

  private mutating func call() throws {
    let arguments = try pop()
    let function = try pop()
    guard let values = graph.elements(arguments), case .name(let name) = graph[function] else {
      throw failure("a call of something that is no function")
    }
    switch name {
    case .orderedDictionary, .counter:
      // OrderedDict(), OrderedDict([[key, value], ...]) or Counter({key: count}).
      var members: [(key: PickleGraph.Reference, value: PickleGraph.Reference)] = []
      if let source = values.first {
        if let given = graph.members(source) {
          try countCopies(given.count)
          members = given
        } else if let given = graph.elements(source) {
          try countCopies(given.count)
          for pair in given {
            guard let pair = graph.elements(pair), pair.count == 2 else {
              throw failure("a dictionary of things that are no pairs")
            }
            members.append((pair[pair.startIndex], pair[pair.startIndex + 1]))
          }
        }
      }
      try pushDictionary(members)
    case .storage, .untypedStorage, .elementType:
      throw failure("a call of something that is no function")
    default:
      try push(.call(name, arguments: arguments))
    }
  }

  private mutating func countCopies(_ count: Int) throws {
    copies -= count
    guard copies >= 0 else {
      throw CheckpointError.limitExceeded(
        path: path, reason: "a pickle that copies its containers over and over")
    }
  }

  /// Sets attributes: those of a state dictionary (`_metadata`), a parameter or a NumPy type carry no tensors.
  private mutating func build() throws {
    _ = try pop()
    switch graph[try top()] {
    case .dictionary, .call: return
    default: throw failure("attributes for something that has none")
    }
  }
}
