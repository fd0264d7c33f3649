/// What a pipeline tells while it runs.
public enum EnhanceEvent: Sendable, Equatable {
  case progress(EnhanceProgress)
  /// Something that a reader should know: shorter segments, samples that were not numbers.
  case note(String)
}

/// How far a recording has come.
public struct EnhanceProgress: Sendable, Equatable {
  /// The share of the work that is done, 0...1; nil where the input does not say how long it is.
  public var fraction: Double?
  /// Seconds of the recording that are enhanced.
  public var secondsDone: Double
  /// Seconds of the recording; nil where it does not say.
  public var secondsTotal: Double?
  public var secondsElapsed: Double
  /// Seconds left at the present rate; nil where that is not known.
  public var secondsLeft: Double?

  public init(
    fraction: Double?, secondsDone: Double, secondsTotal: Double?, secondsElapsed: Double,
    secondsLeft: Double?
  ) {
    self.fraction = fraction
    self.secondsDone = secondsDone
    self.secondsTotal = secondsTotal
    self.secondsElapsed = secondsElapsed
    self.secondsLeft = secondsLeft
  }
}
