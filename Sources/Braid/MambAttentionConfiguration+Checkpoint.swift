import BraidCheckpoint
import BraidSpeech
import BraidTensor

extension MambAttention.Configuration {
  /// The configuration that a published checkpoint's tensors have, told from their names and shapes; nil where they
  /// are not those of MambAttention. Heads, which leave no trace, are eight as published.
  public init?(_ checkpoint: Checkpoint) {
    func shape(_ key: String, rank: Int) -> Shape? {
      checkpoint.entry(key).flatMap { $0.shape.rank == rank ? $0.shape : nil }
    }
    let mixer = "TFMambAttention.0.time_mamba.forward_blocks.0.mixer"
    guard let head = shape("dense_encoder.dense_conv_1.0.weight", rank: 4), head[0] > 0, head[1] == 2,
      let rates = shape("\(mixer).A_log", rank: 2), rates[0].isMultiple(of: head[0]),
      let kernel = shape("\(mixer).conv1d.weight", rank: 3),
      let slope = shape("mask_decoder.lsigmoid.slope", rank: 2), slope[0] > 1, slope[1] == 1,
      let attention = shape("TFMambAttention.0.attention.attn.in_proj_weight", rank: 2),
      attention[0] == 3 * head[0], head[0].isMultiple(of: 8)
    else { return nil }
    let blocks = (0..<64).prefix {
      checkpoint.entry("TFMambAttention.\($0).attention.layernorm.weight") != nil
    }.count
    let frame = 2 * (slope[0] - 1)
    self.init(
      channels: head[0], blocks: blocks, stateSize: rates[1], kernelSize: kernel[2],
      expansion: rates[0] / head[0], frameSize: frame, hop: frame / 4)
  }
}
