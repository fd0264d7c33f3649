import Synchronization

/// A reference-counted run of bytes on one device, shared by all views of a tensor.
public final class Storage: @unchecked Sendable {
  public let device: Device
  public let byteCount: Int
  public let pointer: UnsafeMutableRawPointer
  /// Keeps foreign memory (a mapped file, say) alive; nil for a block of Braid's allocator.
  private let owner: AnyObject?
  private let derivedValues = Mutex<[String: any Sendable & AnyObject]>([:])
  private let constant = Atomic<Bool>(false)

  /// A block of `byteCount` bytes with undefined content.
  public init(byteCount: Int) {
    device = .cpu
    self.byteCount = byteCount
    pointer = Memory.allocate(byteCount)
    owner = nil
  }

  /// Memory that `owner` holds, used in place; it must not change while the storage lives.
  public init(foreign pointer: UnsafeMutableRawPointer, byteCount: Int, owner: AnyObject) {
    device = .cpu
    self.byteCount = byteCount
    self.pointer = pointer
    self.owner = owner
  }

  deinit {
    if owner == nil { Memory.deallocate(pointer, byteCount) }
  }

  /// Whether the bytes may be changed: they are Braid's own and not constant.
  var isWritable: Bool { owner == nil && !isConstant }

  /// Whether the bytes never change again, so that values derived from them may be kept.
  public var isConstant: Bool {
    get { constant.load(ordering: .relaxed) }
    set {
      constant.store(newValue, ordering: .relaxed)
      if !newValue { derivedValues.withLock { $0.removeAll() } }
    }
  }

  /// A value made from the bytes (packed weights, say): made once and kept where the storage is constant,
  /// made anew at each call elsewhere. `key` names the derivation, layout and offset included.
  public func derived<Value: AnyObject & Sendable>(_ key: @autoclosure () -> String, make: () -> Value)
    -> Value
  {
    guard isConstant else { return make() }
    let key = key()
    if let kept = derivedValues.withLock({ $0[key] as? Value }) { return kept }
    let value = make()
    return derivedValues.withLock { values in
      if let kept = values[key] as? Value { return kept }
      values[key] = value
      return value
    }
  }
}
