import BraidMixers
import BraidTensor

/// The memory of one stream, taken once: scratch, and named sections that are its state.
final class StreamMemory {
  /// A part of the state.
  struct Section {
    let name: String
    let pointer: UnsafeMutablePointer<Float>
    let count: Int
    /// Where the elements lie, in the order in which they are saved; nil: one after the other.
    let order: [Int]?
  }
  private(set) var sections: [Section] = []
  private var blocks: [UnsafeMutablePointer<Float>] = []
  /// Floats behind each block: kernels work in whole vectors.
  private static let slack = 64

  deinit { for block in blocks { UnsafeMutableRawPointer(block).deallocate() } }

  /// Zeros, aligned to 64 bytes.
  func floats(_ count: Int) -> UnsafeMutablePointer<Float> {
    let block = UnsafeMutableRawPointer.allocate(byteCount: 4 * (count + Self.slack), alignment: 64)
      .bindMemory(to: Float.self, capacity: count + Self.slack)
    block.initialize(repeating: 0, count: count + Self.slack)
    blocks.append(block)
    return block
  }

  /// These numbers.
  func constants(_ values: [Float]) -> UnsafeMutablePointer<Float> {
    let block = floats(values.count)
    block.update(from: values, count: values.count)
    return block
  }

  /// A section of the state, zeros.
  func state(_ name: String, _ count: Int, order: [Int]? = nil) -> UnsafeMutablePointer<Float> {
    let block = floats(order.map { ($0.max() ?? -1) + 1 } ?? count)
    sections.append(Section(name: name, pointer: block, count: count, order: order))
    return block
  }

  /// Sets the state back to zeros.
  func clear() {
    for section in sections {
      let capacity = section.order.map { ($0.max() ?? -1) + 1 } ?? section.count
      section.pointer.update(repeating: 0, count: capacity)
    }
  }

  /// Numbers of the whole state.
  var stateCount: Int { sections.reduce(0) { $0 + $1.count } }

  /// Writes the state's numbers, section after section.
  func save(to target: UnsafeMutablePointer<Float>) {
    var next = target
    for section in sections {
      if let order = section.order {
        for i in 0..<section.count { next[i] = section.pointer[order[i]] }
      } else {
        next.update(from: section.pointer, count: section.count)
      }
      next += section.count
    }
  }

  /// Takes numbers that `save` wrote.
  func restore(from source: UnsafePointer<Float>) {
    var next = source
    for section in sections {
      if let order = section.order {
        for i in 0..<section.count { section.pointer[order[i]] = next[i] }
      } else {
        section.pointer.update(from: next, count: section.count)
      }
      next += section.count
    }
  }

  /// The state as tensors [1, count] by name.
  var tensors: [String: Tensor] {
    Dictionary(
      uniqueKeysWithValues: sections.map { section in
        (
          section.name,
          Tensor.build([1, section.count]) { out in
            for i in 0..<section.count { out[i] = section.pointer[section.order?[i] ?? i] }
          }
        )
      })
  }

  /// Takes tensors that `tensors` gave.
  /// - Throws: `MixerError.state` where one is missing, misshapen or not finite; the state is then as it was.
  func restore(_ state: MixerState) throws {
    for section in sections {
      guard state.contains(section.name), state[section.name].shape == [1, section.count],
        state[section.name].dtype == .float32
      else { throw MixerError.state(reason: "\(section.name) is not float32 [1, \(section.count)]") }
      guard state[section.name].floats.allSatisfy(\.isFinite) else {
        throw MixerError.state(reason: "\(section.name) has numbers that are not finite")
      }
    }
    for section in sections {
      state[section.name].read { source in
        for i in 0..<section.count { section.pointer[section.order?[i] ?? i] = source[i] }
      }
    }
  }
}
