import BraidNN
import Foundation

/// The mixers by name, for configurations and for the conformance tests.
public enum MixerRegistry {
  /// One mixer, with its type erased.
  public struct Entry: Sendable {
    public let name: String
    public let type: any SequenceMixer.Type
    /// The mixer that a JSON configuration describes.
    public let make: @Sendable (ParameterScope, Data) throws -> any SequenceMixer

    init<Mixer: SequenceMixer>(_ type: Mixer.Type) {
      name = type.name
      self.type = type
      make = { scope, json in
        let configuration: Mixer.Configuration
        do {
          configuration = try JSONDecoder().decode(Mixer.Configuration.self, from: json)
        } catch {
          throw MixerError.configuration(mixer: Mixer.name, reason: "\(error)")
        }
        return try Mixer(scope, configuration)
      }
    }
  }

  /// All mixers; a new one is one line here.
  public static let entries: [Entry] = [
    Entry(GatedShortConvolution.self),
    Entry(Mamba.self),
    Entry(Mamba2.self),
    Entry(LightningAttention.self),
    Entry(RetNet.self),
    Entry(SimpleGatedLinearAttention.self),
    Entry(GatedLinearAttention.self),
    Entry(HGRN2.self),
    Entry(Based.self),
    Entry(LinearAttention.self),
    Entry(GroupedQueryAttention.self),
    Entry(MultiHeadLatentAttention.self),
    Entry(BidirectionalMamba.self),
    Entry(SharedBidirectionalMamba.self),
    Entry(SelectiveScan2D.self),
    Entry(H3.self),
    Entry(GatedDeltaNet.self),
    Entry(KimiDeltaAttention.self),
    Entry(DeltaNet.self),
    Entry(M2RNN.self),
    Entry(MatrixLSTM.self),
    Entry(TestTimeTraining.self),
    Entry(ParallelHeads.self),
    Entry(LinearWindowMixer.self),
    Entry(BlockRoutedMixer.self),
    Entry(SalientTokenMixer.self),
    Entry(LayerRouter.self),
    Entry(GatedAttentionUnit.self),
    Entry(SlidingWindowAttention.self),
    Entry(StridedBlockAttention.self),
    Entry(BlockSparseAttention.self),
    Entry(TopKBlockAttention.self),
    Entry(TopKAttention.self),
    Entry(WindowAttention.self),
    Entry(OverlappingWindowAttention.self),
    Entry(NeighborhoodAttention.self),
    Entry(ChannelAttention.self),
  ]

  /// The mixer of that name.
  /// - Throws: `MixerError.unknownMixer`.
  public static func entry(_ name: String) throws -> Entry {
    guard let entry = entries.first(where: { $0.name == name }) else {
      throw MixerError.unknownMixer(name: name, known: entries.map(\.name))
    }
    return entry
  }
}
