/// What release this is.
public enum BraidVersion {
  public static let text = "0.1.0"
}
