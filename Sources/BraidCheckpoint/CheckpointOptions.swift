/// How a checkpoint is opened.
public struct CheckpointOptions: Sendable, Hashable {
  /// The set of weights to take (`params_ema`, say; dotted where nested; "." for everything); nil chooses by the
  /// order of `Checkpoint.preferredWeightsKeys`. In safetensors, where names are flat: the prefix before the dot.
  public var weightsKey: String?
  /// Prefixes to take off where every key has them: training wrappers put them there.
  public var commonPrefixes: [String]

  public init(weightsKey: String? = nil, commonPrefixes: [String] = ["module.", "_orig_mod."]) {
    self.weightsKey = weightsKey
    self.commonPrefixes = commonPrefixes
  }
}
