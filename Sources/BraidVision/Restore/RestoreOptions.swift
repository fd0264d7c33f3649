/// How a picture is taken through a model; nothing here changes what the model computes.
public struct RestoreOptions: Sendable, Hashable {
  /// How large a part of the picture the model sees at once.
  public enum Tiling: Sendable, Hashable {
    /// As large as the memory budget allows; the whole picture where it fits.
    case automatic
    /// The whole picture.
    case whole
    /// Tiles of this side, in input pixels.
    case side(Int)
  }

  public var tiling = Tiling.automatic
  /// Input pixels that neighbouring tiles share; nil follows from how far the model looks.
  public var overlap: Int?
  /// Bytes that the model's tensors may take; nil is `MemoryBudget.standard`.
  public var memoryBudget: Int?
  /// Gives the untiled result from tiles too, for models whose function depends on the whole picture.
  public var exact = false
  /// Averages the results for the eight flips and quarter turns of the picture.
  public var selfEnsemble = false

  public init(
    tiling: Tiling = .automatic, overlap: Int? = nil, memoryBudget: Int? = nil, exact: Bool = false,
    selfEnsemble: Bool = false
  ) {
    self.tiling = tiling
    self.overlap = overlap
    self.memoryBudget = memoryBudget
    self.exact = exact
    self.selfEnsemble = selfEnsemble
  }
}
