extension MambAttention {
  /// What the network sees of the noisy spectrum.
  public enum Input: String, Codable, Hashable, Sendable, CaseIterable {
    /// Compressed magnitude and phase, as published.
    case polar
    /// Compressed magnitude, and the compressed spectrum's real and imaginary part.
    case complex

    var channels: Int { self == .polar ? 2 : 3 }
  }

  /// What the phase decoder says.
  public enum Phase: String, Codable, Hashable, Sendable, CaseIterable {
    /// The clean phase itself, as published.
    case absolute
    /// The rotation from the noisy to the clean phase, none at the start of training.
    case residual
  }

  /// What mixes a sequence besides the attention, along it and against it.
  public enum Mixer: String, Codable, Hashable, Sendable, CaseIterable {
    /// Mamba, as published.
    case mamba
    /// An LSTM, of expansion / 2 times the channels.
    case lstm
    /// The LSTM with a matrix memory (xLSTM).
    case mlstm
  }

  /// Which attention stands before each mixer.
  public enum Attention: String, Codable, Hashable, Sendable, CaseIterable {
    /// One for time and frequency, as published.
    case shared
    /// None: with Mamba the layout of SEMamba, with the mLSTM that of xLSTM-SENet.
    case none
  }

  /// What distinguishes the members of the family; the published model where nothing is said.
  public struct Configuration: Codable, Hashable, Sendable {
    public var channels: Int
    public var blocks: Int
    public var heads: Int
    /// N of the scans.
    public var stateSize: Int
    /// Positions that the convolution before a scan sees.
    public var kernelSize: Int
    /// Channels of a scan over channels.
    public var expansion: Int
    public var normEpsilon: Float
    /// Samples of a frame and from one to the next, at 16 kHz.
    public var frameSize: Int
    public var hop: Int
    /// Magnitudes enter and leave to this power.
    public var compression: Float
    /// The largest factor of the magnitude mask.
    public var maskLimit: Float
    /// Whether the mask's logits pass an instance norm; without it, the mask can follow the recording's noisiness.
    public var maskNorm: Bool
    /// Convolutions of a dense block.
    public var denseDepth: Int
    public var input: Input
    public var phase: Phase
    public var mixer: Mixer
    public var attention: Attention

    public init(
      channels: Int = 64, blocks: Int = 4, heads: Int = 8, stateSize: Int = 16, kernelSize: Int = 4,
      expansion: Int = 4, normEpsilon: Float = 1e-5, frameSize: Int = 400, hop: Int = 100,
      compression: Float = 0.3, maskLimit: Float = 2, maskNorm: Bool = true, denseDepth: Int = 4,
      input: Input = .polar, phase: Phase = .absolute, mixer: Mixer = .mamba, attention: Attention = .shared
    ) {
      self.channels = channels
      self.blocks = blocks
      self.heads = heads
      self.stateSize = stateSize
      self.kernelSize = kernelSize
      self.expansion = expansion
      self.normEpsilon = normEpsilon
      self.frameSize = frameSize
      self.hop = hop
      self.compression = compression
      self.maskLimit = maskLimit
      self.maskNorm = maskNorm
      self.denseDepth = denseDepth
      self.input = input
      self.phase = phase
      self.mixer = mixer
      self.attention = attention
    }

    public init(from decoder: any Decoder) throws {
      let container = try decoder.container(keyedBy: CodingKeys.self)
      self.init()
      func read<T: Decodable>(_ key: CodingKeys, _ field: inout T) throws {
        field = try container.decodeIfPresent(T.self, forKey: key) ?? field
      }
      try read(.channels, &channels)
      try read(.blocks, &blocks)
      try read(.heads, &heads)
      try read(.stateSize, &stateSize)
      try read(.kernelSize, &kernelSize)
      try read(.expansion, &expansion)
      try read(.normEpsilon, &normEpsilon)
      try read(.frameSize, &frameSize)
      try read(.hop, &hop)
      try read(.compression, &compression)
      try read(.maskLimit, &maskLimit)
      try read(.maskNorm, &maskNorm)
      try read(.denseDepth, &denseDepth)
      try read(.input, &input)
      try read(.phase, &phase)
      try read(.mixer, &mixer)
      try read(.attention, &attention)
    }

    /// What makes the configuration unusable, or nil.
    public var problem: String? {
      if !(1...1024).contains(channels) || !(1...64).contains(heads) || channels % heads != 0 {
        return "\(channels) channels do not divide into \(heads) heads"
      }
      if !(1...64).contains(blocks) { return "blocks \(blocks)" }
      if !(1...256).contains(stateSize) || !(1...64).contains(kernelSize) || !(1...16).contains(expansion) {
        return "stateSize \(stateSize), kernelSize \(kernelSize), expansion \(expansion)"
      }
      if !(8...8192).contains(frameSize) || frameSize % 2 != 0 || hop < 1 || hop > frameSize / 2 {
        return "frames of \(frameSize) samples every \(hop)"
      }
      // Halving the bins and doubling them again must give the same number.
      if (frameSize / 2 + 1) % 2 == 0 { return "frameSize \(frameSize) is not a multiple of 4" }
      if !(1...8).contains(denseDepth) { return "denseDepth \(denseDepth)" }
      if !(compression > 0 && compression <= 1) { return "compression \(compression)" }
      if !(maskLimit > 0 && maskLimit.isFinite) { return "maskLimit \(maskLimit)" }
      if !(normEpsilon > 0 && normEpsilon.isFinite) { return "normEpsilon \(normEpsilon)" }
      return nil
    }
  }
}
