/// What a pipeline tells while it runs.
public enum RestoreEvent: Sendable, Equatable {
  case progress(RestoreProgress)
  /// Something that a reader should know: a smaller tile, an option without effect.
  case note(String)
}

/// How far a picture has come.
public struct RestoreProgress: Sendable, Equatable {
  /// The share of the work that is done, 0...1.
  public var fraction: Double
  public var tilesDone: Int
  /// All tiles of the picture (of its alpha channel too), known before the first one.
  public var tileCount: Int
  public var secondsElapsed: Double
  /// Seconds left at the present rate; nil before the first part is done.
  public var secondsLeft: Double?

  public init(
    fraction: Double, tilesDone: Int, tileCount: Int, secondsElapsed: Double, secondsLeft: Double? = nil
  ) {
    self.fraction = fraction
    self.tilesDone = tilesDone
    self.tileCount = tileCount
    self.secondsElapsed = secondsElapsed
    self.secondsLeft = secondsLeft
  }
}
